// The model's files: from the browser's store where they are there, else from the server, checked and kept for the next
// time, so that the page works without a network.

const here = new URL("./", self.location.href);
export const STORE = `tellapart ${here.pathname}`;

// Stores and checksums are there on https and on this computer only.
function store() {
  return "caches" in self ? caches.open(STORE) : null;
}

async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (each) => each.toString(16).padStart(2, "0")).join("");
}

async function received(response, report) {
  const parts = [];
  let length = 0;
  const reader = response.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    length += part.value.length;
    report(part.value.length);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

async function fetched(url, name) {
  let response;
  try {
    response = await fetch(url);
  } catch {
    throw new Error(`${name} could not be loaded: no connection. Load the page again when there is one.`);
  }
  if (!response.ok) throw new Error(`${name} could not be loaded: the server said ${response.status}.`);
  return response;
}

export const opened = {
  kept: true, // whether all files that were opened are in the store

  // tellapart.json: what the model is.
  async about() {
    return (await fetched(new URL("tellapart.json", here), "tellapart.json")).json();
  },

  // A file's bytes; `report` is told how many came.
  async file(name, { sha256: wanted, bytes: length }, report) {
    const url = new URL(name, here);
    url.searchParams.set("sha256", wanted.slice(0, 16)); // another file, another address: nothing old is taken for it
    const kept = await store();
    const known = await kept?.match(url);
    if (known) {
      const bytes = await received(known, report);
      if (bytes.length === length) return bytes;
    }
    const bytes = await received(await fetched(url, name), report);
    if (bytes.length !== length || (self.crypto?.subtle && (await sha256(bytes)) !== wanted)) {
      throw new Error(`${name} is not the file that was exported: it has ${bytes.length} bytes. Load the page again.`);
    }
    if (!kept || !(await keep(kept, url, bytes))) opened.kept = false;
    return bytes;
  },
};

// Keeps a file instead of its earlier versions, if it can. A store that is full is no reason not to answer.
async function keep(kept, url, bytes) {
  try {
    for (const request of await kept.keys()) {
      if (new URL(request.url).pathname === url.pathname) await kept.delete(request);
    }
    await kept.put(url, new Response(bytes, { headers: { "Content-Length": String(bytes.length) } }));
    return true;
  } catch (error) {
    if (error.name !== "QuotaExceededError") throw error;
    return false;
  }
}
