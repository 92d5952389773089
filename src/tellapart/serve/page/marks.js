// "Wrong?": what the user says a picture is.

import { $, el, save } from "./dom.js";
import { wrong } from "./csv.js";
import { counted, number } from "./words.js";
import { inFolders, zipped } from "./zip.js";

const MANY = 50; // classes from which on the choices are made when they are looked at
const NONE = "none";

/** A choice of the right class for an item: {element, refresh}. */
export function markControl(session, item, classes) {
  const known = item.kind === "answered";
  const select = el("select", { className: "wrong", "aria-label": `What ${item.name} really is` });
  const input = el("input", { type: "text", placeholder: "its name, or nothing", maxLength: 100 });
  const named = el("label", { className: "named" }, "A new class?", input);
  const nothing = el("option", { value: "" });
  select.append(nothing);
  let filled = false;
  const fill = () => {
    if (filled) return;
    filled = true;
    const others = classes.filter((name) => !(known && name === item.prediction.label));
    select.append(
      ...others.map((name) => el("option", { value: `=${name}`, textContent: name })),
      el("option", { value: NONE, textContent: "None of these" }),
    );
  };
  const refresh = () => {
    const marked = item.right !== null;
    if (marked || classes.length <= MANY) fill();
    nothing.textContent = marked ? "Take it back" : known ? "Wrong?" : "What is it?";
    const ours = classes.includes(item.right);
    select.value = marked ? (ours ? `=${item.right}` : NONE) : "";
    select.classList.toggle("is", marked);
    named.hidden = !marked || ours;
    if (!named.hidden && input !== document.activeElement) input.value = item.right;
  };
  for (const event of ["pointerdown", "focus"]) select.addEventListener(event, fill);
  select.addEventListener("change", () => {
    const { value } = select;
    session.mark(item, value === "" ? null : value === NONE ? "" : value.slice(1));
    if (value === NONE) input.focus();
  });
  // A name that is a class already is that class, once it is written to the end.
  input.addEventListener("input", () =>
    session.mark(item, classes.includes(input.value.trim()) ? "" : input.value.trim()),
  );
  input.addEventListener("change", () => session.mark(item, input.value.trim()));
  refresh();
  return { element: el("div", { className: "right" }, select, named), refresh };
}

/** The bar at the foot: how many are marked, and their CSV. Gives a function that says whether marks would be lost. */
export function basket(session) {
  let saved = true;
  const count = () => {
    const n = session.marked.length;
    $("basket").hidden = n === 0;
    $("marked").textContent = `${number(n)} marked wrong`;
    $("save-pictures").hidden = !session.marked.some(({ right }) => right);
    $("saved").hidden = true;
    saved = n === 0;
  };
  session.addEventListener("marked", count);
  session.addEventListener("cleared", count);
  $("save-wrong").addEventListener("click", () => {
    save(wrong(session.marked), "wrong.csv");
    saved = true;
  });
  $("save-pictures").addEventListener("click", async () => {
    const named = session.marked.filter(({ right }) => right);
    const archive = await zipped(inFolders(named.map(({ file, name, right }) => ({ file, name, folder: right }))));
    if (archive) save(archive, "wrong.zip");
    const left = session.marked.length - named.length;
    const without = left ? ` ${counted(left, "picture")} of no class ${left === 1 ? "is" : "are"} not among them.` : "";
    $("saved").textContent = archive
      ? `${counted(named.length, "picture")} saved.${without}`
      : "Too much for one file: mark fewer at a time.";
    $("saved").hidden = false;
    saved ||= archive !== null && left === 0;
  });
  $("how").addEventListener("click", () => {
    $("next").hidden = !$("next").hidden;
    $("how").setAttribute("aria-expanded", String(!$("next").hidden));
  });
  window.addEventListener("beforeunload", (event) => {
    if (!saved) event.preventDefault(); // marks live in this tab alone
  });
  return () => !saved;
}
