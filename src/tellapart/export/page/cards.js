// What is seen of a picture and its answer. Names of files and classes come from outside: they are text, never markup.

import { percent, ranked } from "./answers.js";

const FEW = 5; // classes that are all shown
const MOST = 3; // of more classes, before one asks for all

export function made(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") node.textContent = value;
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

// Text of a direction of its own, so that a name in Arabic does not turn the line round.
function name(text) {
  return made("bdi", { text });
}

function bar(share, label, leads) {
  const fill = made("span", { class: "fill" });
  fill.style.inlineSize = `${100 * share}%`;
  return made(
    "li",
    { class: leads ? "share leads" : "share" },
    made("span", { class: "of" }, name(label)),
    made("span", { class: "track", "aria-hidden": "true" }, fill),
    made("span", { class: "value", text: percent(share) }),
  );
}

function bars(answer, classes) {
  const order = ranked(answer.probabilities);
  const n = order.length <= FEW ? order.length : MOST;
  const list = (some) => some.map((i) => bar(answer.probabilities[i], classes[i], i === answer.best && !answer.unknown));
  const parts = [made("ul", { class: "shares", "aria-label": "Probabilities" }, ...list(order.slice(0, n)))];
  if (n < order.length) {
    const rest = made("ul", { class: "shares" });
    const more = made("details", {}, made("summary", { text: `${order.length - n} more` }), rest);
    more.addEventListener("toggle", () => rest.childElementCount || rest.append(...list(order.slice(n))), { once: true });
    parts.push(more);
  }
  return parts;
}

// The answer in words, with its bars: what stands in a card and beside the camera.
export function told(answer, classes) {
  if (answer.unknown) {
    return [
      made("p", { class: "answer unknown", text: "Unknown" }),
      made("p", { class: "reason", text: `${answer.reason[0].toUpperCase()}${answer.reason.slice(1)}.` }),
      made("p", { class: "note", text: "If it had to choose:" }),
      ...bars(answer, classes),
    ];
  }
  return [made("p", { class: "answer" }, name(answer.label)), ...bars(answer, classes)];
}

// The answer in one line, for who hears the page.
export function spoken({ name: file, answer, error }) {
  if (error) return `${file}: could not be read`;
  return answer.unknown ? `${file}: unknown` : `${file}: ${answer.label}, ${percent(answer.probability)}`;
}

// A card for an entry; `act` is told what the reader does.
export function card(entry, act) {
  const image = made("img", { alt: "", hidden: true });
  const heat = made("button", { type: "button", class: "chip heat", "aria-pressed": "false", hidden: true, text: "Heat map" });
  const behind = made("img", { alt: "", class: "behind", "aria-hidden": "true", hidden: true });
  const frame = made("div", { class: "frame waiting" }, behind, image, heat);
  const title = made("h3", { class: "name", id: `name-${entry.id}` }, name(entry.name));
  const away = made(
    "button",
    { type: "button", class: "away", "aria-label": `Remove ${entry.name}`, title: "Remove" },
    sign(CROSS, 20),
  );
  const says = made("div", { class: "says" }, made("p", { class: "note", text: "Waiting…" }));
  const node = made(
    "li",
    { class: "card" },
    made("article", { "aria-labelledby": title.id }, frame, made("div", { class: "head" }, title, away), says),
  );
  away.addEventListener("click", () => act.remove(entry));
  heat.addEventListener("click", () => act.heat(entry, heat.getAttribute("aria-pressed") !== "true"));
  return { node, frame, image, behind, heat, says };
}

// A sign of strokes; its meaning stands beside it in words.
function sign(d, size) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const path = document.createElementNS(space, "path");
  const box = { viewBox: "0 0 24 24", width: size, height: size, "aria-hidden": "true" };
  const look = { d, fill: "none", stroke: "currentColor", "stroke-width": 2, "stroke-linejoin": "round" };
  for (const [node, values] of [[svg, box], [path, look]]) {
    for (const [key, value] of Object.entries(values)) node.setAttribute(key, value);
  }
  svg.append(path);
  return svg;
}

const CROSS = "M6 6l12 12M18 6L6 18";
const TORN = "M14 3H5v18h14V8l-3 3-2-4zM5 16l3-3 3 3 4-4 4 4"; // a picture with a corner off

// Fills a card with what was found.
export function show(entry, classes, act) {
  const { frame, image, heat, says, node } = entry.card;
  frame.classList.remove("waiting");
  if (entry.error) {
    node.classList.add("failed");
    frame.classList.add("empty");
    frame.replaceChildren(sign(TORN, 44));
    says.replaceChildren(
      made("p", { class: "answer broken", text: "Not readable" }),
      made("p", { class: "reason", text: `${entry.error[0].toUpperCase()}${entry.error.slice(1)}.` }),
    );
    return;
  }
  image.hidden = false;
  entry.card.behind.hidden = false;
  heat.hidden = false;
  picture(entry, entry.picture);
  says.replaceChildren(...told(entry.answer, classes), ...right(entry, classes, act));
  if (entry.fresh) {
    const save = made("button", { type: "button", class: "quiet small", text: "Save picture" });
    save.addEventListener("click", () => act.save(entry));
    says.append(made("p", { class: "save" }, save));
  }
}

// Shows a small picture, or that with its heat map.
export function picture(entry, blob, hot = null) {
  const { image, behind, heat } = entry.card;
  forget(entry);
  image.src = URL.createObjectURL(blob);
  behind.src = image.src; // out of focus, where the picture leaves room
  image.alt = hot === null ? entry.name : `${entry.name}, with what speaks for ${hot}`;
  heat.setAttribute("aria-pressed", String(hot !== null));
}

// Lets go of the memory of a card's picture.
export function forget(entry) {
  URL.revokeObjectURL(entry.card.image.src);
}

const NONE = "none"; // of the classes

// Where one says what a picture really is: one of the classes, or a new one.
function right(entry, classes, act) {
  const question = entry.answer.unknown ? "It is" : "Wrong? It is";
  const select = made("select", {}, made("option", { value: "", text: "choose" }));
  const other = made("input", { type: "text", autocomplete: "off", spellcheck: "false", maxlength: 100 });
  const named = made("label", { class: "right", hidden: true }, made("span", { text: "A new class?" }), other);
  const fill = () => {
    if (select.options.length > 1) return;
    select.append(
      ...classes.map((label, i) => made("option", { value: i, text: label })),
      made("option", { value: NONE, text: "none of these" }),
    );
  };
  // Thousands of names in each of a hundred lists would take long: they are put in when a list is about to open.
  if (classes.length <= 50) fill();
  else for (const event of ["pointerdown", "focus", "keydown"]) select.addEventListener(event, fill);
  const marked = () => {
    named.hidden = select.value !== NONE;
    if (select.value === "") return act.mark(entry, null);
    if (select.value !== NONE) return act.mark(entry, classes[Number(select.value)]);
    act.mark(entry, other.value.trim() || null);
  };
  select.addEventListener("change", () => {
    marked();
    if (select.value === NONE) other.focus();
  });
  other.addEventListener("input", marked);
  entry.card.unmark = () => {
    select.value = "";
    named.hidden = true;
  };
  return [made("label", { class: "right first" }, made("span", { text: question }), select), named];
}
