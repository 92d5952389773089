// The page: pictures in, answers out. The network runs in worker.js; nothing leaves this device.

import { introduce, megabytes } from "./about.js";
import { percent } from "./answers.js";
import { Camera } from "./camera.js";
import { card, forget, made, picture, show, spoken, told } from "./cards.js";
import { listen } from "./intake.js";
import { ask, start } from "./network.js";
import { answerRows, csv, download, labelRows } from "./tables.js";

const at = (id) => document.getElementById(id);
const MANY = 60; // pictures from which on smaller copies are kept
const SILENCE = 400; // ms without a new answer before one who listens is told

at("stuck").hidden = true;
at("ask").hidden = false;

const entries = new Map();
let about = null;
let serial = 0;

// --- the network ---

start({
  about(said) {
    about = said.about;
    introduce(about);
  },
  loaded: loading,
  starting,
  ready,
  failed: ({ failed: message }) => failed(message),
});

function loading({ loaded, total }) {
  at("progress").value = loaded / total;
  at("loaded").textContent = `Loading the model: ${megabytes(loaded)} of ${megabytes(total)} MB`;
}

function starting() {
  at("progress").removeAttribute("value");
  at("loaded").textContent = "Starting the model";
}

async function ready({ exact, kept }) {
  at("loading").hidden = true;
  at("inexact").hidden = exact;
  document.documentElement.dataset.ready = "true";
  if (!kept || !("serviceWorker" in navigator)) return;
  try {
    await navigator.serviceWorker.register("offline.js");
    await navigator.serviceWorker.ready;
    at("offline").textContent = "Ready to be used offline.";
  } catch {
    // A private window may have no store: the page works, with a network.
  }
}

function failed(message) {
  at("loading").hidden = true;
  at("drop").hidden = true;
  trouble(message);
}

function trouble(message) {
  at("trouble").textContent = message;
  at("trouble").hidden = message === "";
}

// --- pictures in ---

function add(files, { fresh = false } = {}) {
  if (files.length === 0) return;
  trouble("");
  at("answers").hidden = false;
  for (const file of files) {
    const entry = { id: (serial += 1), file, name: file.webkitRelativePath || file.path || file.name, fresh };
    entry.card = card(entry, act);
    entries.set(entry.id, entry);
    if (fresh) at("cards").prepend(entry.card.node);
    else at("cards").append(entry.card.node);
    classify(entry);
  }
  tally();
}

const longest = () => (entries.size > MANY ? 320 : 640);

async function classify(entry) {
  try {
    const found = await ask("classify", { source: entry.file, longest: longest() });
    entry.answer = found.answer;
    entry.picture = found.picture;
  } catch (error) {
    entry.error = error.message;
  }
  if (!entries.has(entry.id)) return;
  show(entry, about?.classes ?? [], act);
  announce(entry);
  tally();
  if (at("heat-all").checked) act.heat(entry, true);
}

// Of many answers that come at once one who listens is told the sum.
let news = [];
let silence = 0;
function announce(entry) {
  news.push(entry);
  clearTimeout(silence);
  silence = setTimeout(() => {
    const sum = [...at("tally").children].map((each) => each.textContent).join(", ");
    at("news").textContent = news.length <= 3 ? news.map(spoken).join(". ") : sum;
    news = [];
  }, SILENCE);
}

// What a picture counts as: a class, or one of the three others.
const OTHERS = ["unknown", "not readable", "waiting"];
function kindOf(entry) {
  if (entry.error) return { other: true, text: "not readable" };
  if (!entry.answer) return { other: true, text: "waiting" };
  return entry.answer.unknown ? { other: true, text: "unknown" } : { other: false, text: entry.answer.label };
}

let only = null; // the kind to which what is seen is narrowed, as its key

// How many there are of each kind; pressed, a kind is all that is seen.
function tally() {
  const all = [...entries.values()];
  const kinds = new Map();
  for (const entry of all) {
    const kind = kindOf(entry);
    const key = `${kind.other} ${kind.text}`;
    entry.key = key;
    kinds.set(key, { ...kind, key, n: (kinds.get(key)?.n ?? 0) + 1 });
  }
  if (!kinds.has(only)) only = null;
  const place = ({ other, text }) => (other ? 1 + OTHERS.indexOf(text) : 0);
  const order = [...kinds.values()].sort((a, b) => place(a) - place(b) || b.n - a.n);
  const focused = document.activeElement?.dataset?.key;
  at("tally").replaceChildren(...order.map(chip));
  if (focused !== undefined) [...at("tally").children].find((each) => each.dataset.key === focused)?.focus();
  for (const entry of all) entry.card.node.hidden = only !== null && entry.key !== only;
  at("found").textContent = all.length === 1 ? "1 picture" : `${all.length.toLocaleString("en")} pictures`;
  at("answers").hidden = all.length === 0;
  at("drop").classList.toggle("small", all.length > 0);
  const n = all.filter((each) => each.right).length;
  at("basket").hidden = n === 0;
  at("marked").textContent = n === 1 ? "1 answer marked wrong" : `${n.toLocaleString("en")} answers marked wrong`;
}

function chip({ key, text, other, n }) {
  const count = made("b", { text: n.toLocaleString("en") });
  const pressed = String(key === only);
  const button = made("button", { type: "button", class: other ? "chip other" : "chip", "aria-pressed": pressed });
  button.append(count, " ", made("bdi", { text }));
  button.dataset.key = key;
  button.addEventListener("click", () => {
    only = key === only ? null : key;
    tally();
  });
  return button;
}

const act = {
  remove(entry) {
    const next = (entry.card.node.nextElementSibling ?? entry.card.node.previousElementSibling)?.querySelector(".away");
    forget(entry);
    entries.delete(entry.id);
    entry.card.node.remove();
    tally();
    (next ?? at("choose")).focus();
  },

  async heat(entry, wanted) {
    if (!entry.answer) return;
    if (!wanted) return picture(entry, entry.picture);
    entry.card.heat.setAttribute("aria-pressed", "true");
    entry.card.frame.classList.add("waiting");
    try {
      entry.hot ??= await ask("explain", { source: entry.file, wanted: entry.answer.best, longest: longest() });
    } finally {
      entry.card.frame.classList.remove("waiting");
    }
    if (entry.card.heat.getAttribute("aria-pressed") === "true") {
      picture(entry, entry.hot.picture, about.classes[entry.answer.best]);
    }
  },

  mark(entry, label) {
    entry.right = label === entry.answer.label ? null : label;
    if (label !== null && entry.right === null) entry.card.unmark(); // it was answered so
    entry.card.node.classList.toggle("marked", entry.right !== null);
    tally();
  },

  save(entry) {
    download(entry.name, entry.file);
  },
};

listen(add);

// --- tools ---

at("heat-all").addEventListener("change", (event) => {
  for (const entry of entries.values()) act.heat(entry, event.target.checked);
});

at("table").addEventListener("click", () => {
  const done = [...entries.values()].filter((each) => each.answer || each.error);
  download("answers.csv", csv(answerRows(done, about.classes)));
});

at("clear").addEventListener("click", () => {
  for (const entry of entries.values()) forget(entry);
  entries.clear();
  at("cards").replaceChildren();
  tally();
  at("choose").focus();
});

at("labels").addEventListener("click", () => {
  download("labels.csv", csv(labelRows([...entries.values()].filter((each) => each.right))));
});

at("unmark").addEventListener("click", () => {
  for (const entry of entries.values()) {
    if (!entry.right) continue;
    entry.card.unmark();
    act.mark(entry, null);
  }
  at("found").focus();
});

// --- the camera ---

let seen = ""; // what was said last of the camera
const camera = new Camera(at("video"), async (frame) => {
  try {
    const { answer } = await ask("classify", { source: frame }, [frame]);
    if (camera.stream === null) return;
    at("seen").replaceChildren(...told(answer, about.classes));
    const now = answer.label ?? "unknown";
    if (now !== seen) at("news").textContent = now === "unknown" ? "Unknown" : `${now}, ${percent(answer.probability)}`;
    seen = now;
  } catch (error) {
    trouble(error.message);
    stopped();
  }
});

at("camera").hidden = !Camera.possible;
at("camera").addEventListener("click", async () => {
  trouble("");
  try {
    at("seen").replaceChildren(made("p", { class: "note", text: "Looking…" }));
    await camera.start();
  } catch (error) {
    return trouble(error.message);
  }
  at("live").hidden = false;
  at("drop").hidden = true;
  at("turn").hidden = (await camera.cameras()).length < 2;
  at("keep").focus();
});
at("turn").addEventListener("click", () => camera.turn().catch((error) => (stopped(), trouble(error.message))));
at("keep").addEventListener("click", async () => add([await camera.kept()], { fresh: true }));
at("stop").addEventListener("click", stopped);

function stopped() {
  camera.stop();
  at("live").hidden = true;
  at("drop").hidden = false;
  at("camera").focus();
}
