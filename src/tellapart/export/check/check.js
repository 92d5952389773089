// Has the exported worker answer pictures, and posts what it says. Served beside an export while it is checked, and never
// written into it.

const to = new URL(location.href).searchParams.get("to");

async function post(found) {
  await fetch(to, { method: "POST", body: JSON.stringify(found) });
}

window.onerror = (message) => post({ error: message });
window.onunhandledrejection = (event) => post({ error: String(event.reason?.message ?? event.reason) });

const worker = new Worker("worker.js", { type: "module" });
worker.onerror = (event) => post({ error: event.message || "the worker could not be started" });

let about = null;
const ready = new Promise((resolve, reject) => {
  worker.onmessage = ({ data }) => {
    if (data.about) about = data.about;
    if (data.failed) reject(new Error(data.failed));
    if (data.ready) resolve();
  };
});

let serial = 0;
const waiting = new Map();
function ask(task, given) {
  const id = (serial += 1);
  worker.postMessage({ id, task, ...given });
  return new Promise((resolve) => waiting.set(id, resolve));
}

await ready;
worker.onmessage = ({ data }) => {
  waiting.get(data.id)?.(data);
  waiting.delete(data.id);
};

const wanted = await (await fetch("asked.json")).json();
const rows = [];
for (const { task, picture, ...given } of wanted) {
  const source = await (await fetch(picture)).blob();
  const found = await ask(task, { source, ...given });
  if (found.error !== undefined) throw new Error(`${picture}: ${found.error}`);
  if (task === "square") rows.push({ square: Array.from(found.square) });
  else if (task === "explain") rows.push({ ...found.heat, values: Array.from(found.heat.values) });
  else {
    const { label, probability, probabilities, unknown, reason, score } = found.answer;
    const named = Object.fromEntries(about.classes.map((name, i) => [name, probabilities[i]]));
    rows.push({ label, probability, probabilities: named, unknown, reason, score });
  }
}
await post({ rows });
