// Pictures to the server in small groups, a few at a time, so that the first answers come soon and none is lost.

import { size } from "./words.js";

const GROUP = 4; // pictures of one request
const GROUP_BYTES = 4 * 2 ** 20; // of one request of several: a slow line must be through with it in time
const LANES = 2; // requests at a time
const AROUND_BYTES = 8192; // what a request holds beside the picture
const PATIENCE_S = 300; // how long a server may be busy
const GONE = 410; // as HTTP has it, of a file
const ALONE = [0, 408, 413, 422]; // cut off, too slow, too much, none readable: what may be no fault of each in a group

const DEFAULT = { max_body_bytes: 32 * 2 ** 20, max_files: 64 };

/** Tells of `progress` (detail: {done, total, waitS}) and `idle`. */
export class Sender extends EventTarget {
  constructor(service, session) {
    super();
    Object.assign(this, { service, session, limits: DEFAULT, queue: [], lanes: 0, done: 0, total: 0, waitS: 0 });
    this.abort = new AbortController();
  }

  /** Ask about items. Those over the server's limit are not sent; they are returned. */
  send(items) {
    const tooLarge = [];
    for (const item of items) {
      if (item.file.size + AROUND_BYTES > this.limits.max_body_bytes) {
        tooLarge.push(item);
        const most = size(this.limits.max_body_bytes);
        const problem = `It has ${size(item.file.size)}, and this server takes up to ${most}.`;
        this.session.change(item, { state: "failed", problem, again: false, tooLarge: true });
      } else {
        this.queue.push(item);
        this.total += 1;
      }
    }
    while (this.lanes < LANES && this.queue.length) this.#lane();
    this.#tell();
    return tooLarge;
  }

  /** Give up what is not answered yet. */
  stop() {
    this.abort.abort();
    this.abort = new AbortController();
    const left = this.session.items.filter((item) => item.kind === "waiting");
    this.queue = [];
    for (const item of left) this.session.change(item, { state: "failed", problem: "Stopped.", again: true });
  }

  async #lane() {
    this.lanes += 1;
    while (this.queue.length) await this.#ask(this.#group(), this.abort.signal);
    this.lanes -= 1;
    if (this.lanes) return;
    this.done = this.total = 0;
    this.dispatchEvent(new Event("idle"));
  }

  #group() {
    const group = [this.queue.shift()];
    let bytes = group[0].file.size;
    const [most, room] = [Math.min(GROUP, this.limits.max_files), Math.min(GROUP_BYTES, this.limits.max_body_bytes)];
    while (group.length < most && this.queue.length && bytes + this.queue[0].file.size + AROUND_BYTES <= room) {
      bytes += this.queue[0].file.size;
      group.push(this.queue.shift());
    }
    return group;
  }

  async #ask(items, signal) {
    for (const item of items) this.session.change(item, { state: "asking" });
    const until = performance.now() + 1000 * PATIENCE_S;
    for (;;) {
      try {
        const predictions = await this.service.predict(items, signal);
        items.forEach((item, i) => this.#answered(item, predictions[i]));
        return;
      } catch (error) {
        if (signal.aborted) {
          this.#count(items.length);
          return;
        }
        if (error.busy && performance.now() < until) {
          await this.#wait(error.waitS, signal);
        } else if (items.length > 1 && ALONE.includes(error.status)) {
          for (const item of items) await this.#ask([item], signal);
          return;
        } else {
          for (const item of items) this.#failed(item, (await gone(item.file)) ?? error);
          return;
        }
      }
    }
  }

  async #wait(seconds, signal) {
    this.waitS = seconds;
    this.#tell();
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, 1000 * seconds);
      signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
    });
    this.waitS = 0;
    this.#tell();
  }

  #answered(item, prediction) {
    const { error } = prediction;
    this.session.change(
      item,
      error ? { state: "failed", problem: error, again: false } : { state: "done", prediction },
    );
    this.#count(1);
  }

  #failed(item, error) {
    const problem = error.body?.predictions?.[0]?.error ?? error.message;
    this.session.change(item, { state: "failed", problem, again: ![GONE, 413, 422].includes(error.status) });
    this.#count(1);
  }

  #count(n) {
    this.done += n;
    this.#tell();
  }

  #tell() {
    const { done, total, waitS } = this;
    this.dispatchEvent(new CustomEvent("progress", { detail: { done, total, waitS } }));
  }
}

/** What keeps the browser from reading a file that was chosen; null where it can. */
async function gone(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return null;
  } catch {
    const told = new Error("The file is gone, or was changed after it was chosen. Choose it again.");
    return Object.assign(told, { status: GONE });
  }
}
