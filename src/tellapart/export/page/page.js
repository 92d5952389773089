// The page: pictures in, answers out. The network runs in worker.js; nothing leaves this device.

import { Camera } from "./camera.js";
import { card, forget, made, picture, show, spoken, told } from "./cards.js";
import { percent } from "./answers.js";
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

const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
const waiting = new Map();

function ask(task, given, transfer = []) {
  const id = (serial += 1);
  worker.postMessage({ id, task, ...given }, transfer);
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
}

worker.onmessage = ({ data }) => {
  if (data.id !== undefined) {
    const { resolve, reject } = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.error === undefined) resolve(data);
    else reject(new Error(data.error));
  } else if (data.about) introduce(data.about);
  else if (data.loaded !== undefined) loading(data.loaded, data.total);
  else if (data.starting) starting();
  else if (data.ready) ready(data);
  else if (data.failed) failed(data.failed);
};
worker.onerror = (event) => failed(event.message || "The worker could not be started.");

function introduce(found) {
  about = found;
  const title = about.classes.length === 2 ? `${about.classes[0]} or ${about.classes[1]}?` : "What is it?";
  document.title = title[0].toUpperCase() + title.slice(1);
  at("title").replaceChildren(
    ...(about.classes.length === 2
      ? [made("bdi", { text: about.classes[0] }), " or ", made("bdi", { text: about.classes[1] }), "?"]
      : [title]),
  );
  at("classes").replaceChildren(...listed(about.classes), right(about.provenance.accuracy.test));
  at("facts").replaceChildren(
    ...facts(about).flatMap(([term, text]) => [made("dt", { text: term }), made("dd", { text })]),
  );
  at("about").hidden = false;
}

function right(tested) {
  if (!tested?.pictures) return "";
  const n = Math.round(tested.accuracy * tested.pictures);
  return ` It was right for ${n.toLocaleString("en")} of ${tested.pictures.toLocaleString("en")} test pictures.`;
}

function facts({ classes, preprocess, provenance, quantized, guards, model }) {
  const rows = [];
  const { test, validation } = provenance.accuracy;
  const tested = test ?? validation;
  if (tested) {
    const of = test ? "test pictures" : "pictures that it did not learn from";
    const n = tested.pictures ? `${tested.pictures.toLocaleString("en")} ${of}` : of;
    const [low, high] = tested.interval.map(one);
    rows.push(["Right", `${one(tested.accuracy)} % of ${n} (95 % interval ${low} to ${high} %)`]);
  }
  if (quantized) {
    rows.push(["Made smaller", `8 bits; on ${quantized.judged_on} pictures ${one(quantized.accuracy_after)} % right, before ${one(quantized.accuracy_before)} %`]);
  }
  if (guards.strangeness !== null) rows.push(["Unknown", "pictures unlike those that it knows are refused"]);
  if (guards.confidence > 0) rows.push(["Least probability", `${one(guards.confidence)} %, below it the answer is “unknown”`]);
  rows.push(["Classes", classes.length.toLocaleString("en")]);
  rows.push(["Sees", `${preprocess.size_px} × ${preprocess.size_px} px${preprocess.fit === "crop" ? ", the middle of the picture" : ""}`]);
  rows.push(["Size", `${megabytes(model.files[model.graph].bytes)} MB`]);
  rows.push(["Trained", provenance.created.slice(0, 10)]);
  return rows;
}

const one = (share) => (100 * share).toFixed(1);

// "Tells cats, dogs and 3 more apart", each name in a direction of its own.
function listed(classes) {
  const most = classes.length <= 12 ? classes.length : 10;
  const parts = ["Tells "];
  classes.slice(0, most).forEach((label, i) => {
    if (i > 0) parts.push(i === classes.length - 1 ? " and " : ", ");
    parts.push(made("bdi", { class: "kind", text: label }));
  });
  if (most < classes.length) parts.push(` and ${classes.length - most} more`);
  return [...parts, " apart."];
}

const megabytes = (bytes) => (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);

function loading(loaded, total) {
  at("progress").value = loaded / total;
  at("loaded").textContent = `Loading the model: ${megabytes(loaded)} of ${megabytes(total)} MB`;
}

function starting() {
  at("progress").removeAttribute("value");
  at("loaded").textContent = "Starting the model";
}

async function ready({ exact }) {
  at("loading").hidden = true;
  at("inexact").hidden = exact;
  document.documentElement.dataset.ready = "true";
  if (!("serviceWorker" in navigator)) return;
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

at("choose").addEventListener("change", (event) => {
  add([...event.target.files]);
  event.target.value = "";
});

document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (files.length > 0) event.preventDefault();
  add(files);
});

let inside = 0; // dragenter less dragleave
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    if (kind === "dragenter") inside += 1;
    else if (kind === "dragleave") inside -= 1;
    else if (kind === "drop") inside = 0;
    at("over").hidden = inside === 0;
    if (kind === "drop") dropped(event.dataTransfer).then(add);
  });
}

// Files, and those in folders, without what systems put there.
async function dropped(transfer) {
  const items = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (items.length === 0) return [...transfer.files];
  const files = [];
  for (const item of items) await walk(item, "", files);
  return files;
}

async function walk(item, folder, files) {
  if (item.isFile) {
    const file = await new Promise((done, fail) => item.file(done, fail));
    if (folder !== "") {
      if (/^\.|^thumbs\.db$|^desktop\.ini$/i.test(file.name)) return;
      if (!/^image\//.test(file.type) && !/\.(jpe?g|jfif|png|gif|webp|bmp|tiff?|avif|hei[cf])$/i.test(file.name)) return;
      file.path = folder + file.name;
    }
    files.push(file);
    return;
  }
  const reader = item.createReader();
  for (;;) {
    const some = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (some.length === 0) return;
    for (const each of some.sort((a, b) => a.name.localeCompare(b.name))) await walk(each, `${folder}${item.name}/`, files);
  }
}

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
