// The service's HTTP interface, as this page uses it.

const KEY = "tellapart-key";
const WAIT_S = 2; // where a busy server does not say how long
const MOST_WAIT_S = 30;

/** What went wrong between the page and the server. */
export class ServiceError extends Error {
  /**
   * @param {number} status of HTTP; 0 where there was no answer at all
   * @param {string} code
   * @param {string} message for the user
   * @param {number} waitS seconds after which to try again, of a busy server
   * @param {object | null} body what the server sent
   */
  constructor(status, code, message, waitS = 0, body = null) {
    super(message);
    Object.assign(this, { status, code, waitS, body });
  }

  get busy() {
    return this.status === 503 || this.status === 429;
  }
}

export class Service {
  /** @param {(again: boolean) => Promise<string | null>} askKey asks the user for the key; null where none is given */
  constructor(askKey) {
    this.model = "";
    this.askKey = askKey;
    this.key = sessionStorage.getItem(KEY) ?? "";
    this.asking = null; // one question for all requests that wait for a key
  }

  models() {
    return this.#request("v1/models");
  }

  about() {
    return this.#request(this.#address("v1/model"));
  }

  /** The predictions for files, in their order. */
  async predict(items, signal) {
    const found = await this.#request(this.#address("v1/predict"), { method: "POST", body: form(items), signal });
    return found.predictions;
  }

  /** The explanation of one picture's answer, of the most probable class or of `label`. */
  async explain(item, label, signal) {
    const more = label === null ? {} : { label };
    const found = await this.#request(this.#address("v1/explain", more), {
      method: "POST",
      body: form([item]),
      signal,
    });
    return found.explanations[0];
  }

  #address(path, more = {}) {
    const query = new URLSearchParams(this.model ? { model: this.model, ...more } : more).toString();
    return query ? `${path}?${query}` : path;
  }

  async #request(address, options = {}) {
    for (;;) {
      const used = this.key;
      const response = await this.#fetch(address, options);
      if (response.status === 401) {
        if (used === this.key && !(await this.#newKey(used !== ""))) throw await problem(response);
        continue;
      }
      if (!response.ok) throw await problem(response);
      return response.json();
    }
  }

  async #fetch(address, options) {
    const headers = this.key ? { Authorization: `Bearer ${this.key}` } : {};
    try {
      return await fetch(address, { ...options, headers, cache: "no-store", credentials: "same-origin" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ServiceError(0, "unreachable", "The server cannot be reached. Is it still running?");
    }
  }

  async #newKey(again) {
    this.asking ??= this.askKey(again).finally(() => {
      this.asking = null;
    });
    const key = await this.asking;
    if (!key) return false;
    this.key = key;
    sessionStorage.setItem(KEY, key);
    return true;
  }
}

function form(items) {
  const data = new FormData();
  for (const item of items) data.append("files", item.file, item.name);
  return data;
}

async function problem(response) {
  const body = await response.json().catch(() => null);
  const told = body?.error ?? {};
  const waitS = Number.parseFloat(response.headers.get("Retry-After") ?? "") || WAIT_S;
  const message = told.message ?? `The server answered with status ${response.status}.`;
  return new ServiceError(response.status, told.code ?? "", message, Math.min(waitS, MOST_WAIT_S), body);
}
