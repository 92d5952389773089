// The service worker: with a network the page is always the server's; without one it is what was seen last.

const STORE = `tellapart ${new URL("./", self.location.href).pathname}`;
const PAGE = [
  "./",
  "about.js",
  "answers.js",
  "camera.js",
  "cards.js",
  "files.js",
  "heat.js",
  "icon.svg",
  "intake.js",
  "manifest.json",
  "network.js",
  "onnxruntime/ort.wasm.bundle.min.js",
  "page.css",
  "page.js",
  "resize.js",
  "store.js",
  "tables.js",
  "tellapart.json",
  "worker.js",
];

self.addEventListener("install", (event) => {
  event.waitUntil(
    caches
      .open(STORE)
      .then((store) => store.addAll(PAGE.map((name) => new Request(name, { cache: "no-cache" }))))
      .then(() => self.skipWaiting()),
  );
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  // The large files are kept by store.js, which checks them.
  if (event.request.method !== "GET" || url.origin !== self.location.origin || url.searchParams.has("sha256")) return;
  event.respondWith(answer(event.request, url));
});

async function answer(request, url) {
  const store = await caches.open(STORE);
  try {
    const response = await fetch(request, request.mode === "navigate" ? undefined : { cache: "no-cache" });
    if (response.ok && !url.search) await store.put(url, response.clone());
    return response;
  } catch (error) {
    const known = await store.match(url, { ignoreSearch: request.mode === "navigate" });
    if (known) return known;
    throw error;
  }
}
