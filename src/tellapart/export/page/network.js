// The worker that holds the network, asked by messages.

let worker = null;
let serial = 0;
const waiting = new Map();

// Starts it. `heard` has a function for each thing that it says by itself: about, loaded, starting, ready, failed.
export function start(heard) {
  worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }) => {
    if (data.id === undefined) {
      const said = Object.keys(heard).find((each) => data[each] !== undefined);
      heard[said](data);
      return;
    }
    const { resolve, reject } = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.error === undefined) resolve(data);
    else reject(new Error(data.error));
  };
  worker.onerror = (event) => heard.failed({ failed: event.message || "The worker could not be started." });
}

// What the worker makes of a task; rejects with an Error that says why it cannot.
export function ask(task, given, transfer = []) {
  const id = (serial += 1);
  worker.postMessage({ id, task, ...given }, transfer);
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
}
