// The network, in a thread of its own: the page stays usable while it computes.
//
// What comes in: {id, task, …}; what goes out: {id, …} or {id, error}, and without an id how far the loading has come.

import { judged } from "./answers.js";
import { ended, kind } from "./files.js";
import { covers, overlay, places } from "./heat.js";
import * as ort from "./onnxruntime/ort.wasm.bundle.min.js";
import { Square, shown } from "./resize.js";
import { opened } from "./store.js";

const STRIP = 1 << 20; // px of a picture that are read at once
const ANSWER = ["probabilities", "score"]; // the latter where the network has it
const MOST_PIXELS = 120_000_000;

const model = load();
model.catch((error) => postMessage({ failed: error.message }));

async function load() {
  const about = await opened.about();
  postMessage({ about });
  const names = ["onnxruntime/ort-wasm-simd-threaded.wasm", about.model.graph, ...(about.model.tail ? [about.model.tail.graph] : [])];
  const total = names.reduce((sum, name) => sum + about.model.files[name].bytes, 0);
  let loaded = 0;
  const contents = [];
  for (const name of names) {
    contents.push(
      await opened.file(name, about.model.files[name], (n) => {
        loaded += n;
        postMessage({ loaded, total });
      }),
    );
  }
  const [wasm, graph, tail] = contents;
  postMessage({ starting: true });
  ort.env.logLevel = "error";
  ort.env.wasm.wasmBinary = wasm.buffer;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 4) : 1;
  const network = await ort.InferenceSession.create(graph).catch(explained);
  const end = tail ? await ort.InferenceSession.create(tail) : null;
  const size = about.preprocess.size_px;
  await ask(network, new Uint8Array(size * size * 3), 1, size, ANSWER); // the first run takes longer: not the user's
  postMessage({ ready: true, threads: ort.env.wasm.numThreads, exact: trueToPixels() });
  return { about, network, end };
}

function explained(error) {
  if (!/Content Security/i.test(error.message)) throw error;
  throw new Error("The server's Content-Security-Policy must allow script-src 'self' 'wasm-unsafe-eval'; it does not.");
}

// Squares, uint8 (n, size, size, 3), through the network, to those of its outputs that are wanted.
function ask(network, squares, n, size, outputs) {
  const input = new ort.Tensor("uint8", squares, [n, size, size, 3]);
  const wanted = outputs.filter((name) => network.outputNames.includes(name));
  return network.run({ [network.inputNames[0]]: input }, wanted);
}

// A picture file, or a frame of a video, decoded and upright.
async function decoded(source) {
  if (source instanceof ImageBitmap) return source;
  const type = await kind(source);
  let bitmap = null;
  try {
    bitmap = await createImageBitmap(source, {
      imageOrientation: "from-image",
      premultiplyAlpha: "none",
      colorSpaceConversion: "none",
    });
  } catch (error) {
    if (error instanceof TypeError) throw new Error("this browser is too old to turn pictures upright; update it");
    if (!["JPEG", "PNG", "GIF", "WebP", "BMP"].includes(type)) {
      throw new Error(`${type} is not read by this browser; save it as JPEG or PNG`);
    }
  }
  // Also where it was decoded: some browsers take what there is of a picture, and grey for the rest.
  if (!(await ended(source, type))) throw new Error("truncated: the file ends before the picture does");
  if (bitmap === null) throw new Error(`damaged: this ${type} file cannot be decoded`);
  if (bitmap.width * bitmap.height > MOST_PIXELS) {
    throw new Error(`${bitmap.width} × ${bitmap.height} px, over the limit of ${MOST_PIXELS / 1e6} million`);
  }
  return bitmap;
}

function canvas(width, height) {
  const context = new OffscreenCanvas(width, height).getContext("2d", { alpha: false, willReadFrequently: true });
  context.fillStyle = "#fff";
  return context;
}

// Whether a page gets the px that it drew. Some browsers change them a little, so that pages cannot know them again.
function trueToPixels() {
  const context = canvas(64, 4);
  const drawn = context.createImageData(64, 4);
  drawn.data.forEach((_, i) => (drawn.data[i] = i % 4 === 3 ? 255 : (i * 37) % 256));
  context.putImageData(drawn, 0, 0);
  const found = context.getImageData(0, 0, 64, 4).data;
  return drawn.data.every((level, i) => level === found[i]);
}

// A picture over white to the network's square, in strips, so that the largest photo needs little memory.
function squared(bitmap, { size_px: size, fit }) {
  const part = shown(bitmap.width, bitmap.height, fit);
  const rows = Math.min(Math.max(Math.floor(STRIP / part.width), 1), part.height);
  const context = canvas(part.width, rows);
  context.imageSmoothingEnabled = false;
  const square = new Square(part.width, part.height, size);
  for (let top = 0; top < part.height; top += rows) {
    const n = Math.min(rows, part.height - top);
    context.fillRect(0, 0, part.width, n);
    context.drawImage(bitmap, part.left, part.top + top, part.width, n, 0, 0, part.width, n);
    square.push(context.getImageData(0, 0, part.width, n).data);
  }
  return square.done();
}

// A picture over white, its longer side no longer than `longest` px.
function small(bitmap, longest) {
  const scale = Math.min(1, longest / Math.max(bitmap.width, bitmap.height));
  const width = Math.max(1, Math.round(bitmap.width * scale));
  const height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas(width, height);
  context.imageSmoothingQuality = "high";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  return context;
}

function shot(context) {
  return context.canvas.convertToBlob({ type: "image/jpeg", quality: 0.88 });
}

async function answer(square) {
  const { about, network } = await model;
  const found = await ask(network, square, 1, about.preprocess.size_px, ANSWER);
  return judged(found.probabilities.data, found.score ? found.score.data[0] : null, about);
}

// How much each place of the network's own map speaks for a class.
async function looked(square, wanted) {
  const { about, network, end } = await model;
  const size = about.preprocess.size_px;
  const rows = ({ data, dims: [n, each] }) => Array.from({ length: n }, (_, i) => data.subarray(i * each, (i + 1) * each));
  if (end === null) {
    return covers(square, size, wanted, async (squares, n) => rows((await ask(network, squares, n, size, ["logits"])).logits));
  }
  const { feature_map: map } = await ask(network, square, 1, size, ["feature_map"]);
  const shape = map.dims.slice(1);
  return places(map.data, shape, wanted, async (maps, n) => {
    const { order } = about.model.tail;
    const moved = transposed(maps, [n, ...shape], order);
    const dims = order.map((axis) => [n, ...shape][axis]);
    const found = await end.run({ [end.inputNames[0]]: new ort.Tensor("float32", moved, dims) });
    return rows(found[end.outputNames[0]]);
  });
}

// (n, h, w, k) with its axes in another order, the first staying.
function transposed(values, dims, order) {
  if (order.every((axis, i) => axis === i)) return values;
  const strides = [dims[1] * dims[2] * dims[3], dims[2] * dims[3], dims[3], 1];
  const [, a, b, c] = order.map((axis) => dims[axis]);
  const [sn, sa, sb, sc] = order.map((axis) => strides[axis]);
  const moved = new Float32Array(values.length);
  let to = 0;
  for (let n = 0; n < dims[0]; n += 1) {
    for (let i = 0; i < a; i += 1) {
      for (let j = 0; j < b; j += 1) {
        for (let k = 0, from = n * sn + i * sa + j * sb; k < c; k += 1, from += sc) moved[to++] = values[from];
      }
    }
  }
  return moved;
}

const tasks = {
  // A picture to its answer and a small picture of it.
  async classify({ source, longest }) {
    const bitmap = await decoded(source);
    const { about } = await model;
    const square = squared(bitmap, about.preprocess);
    const found = { answer: await answer(square), width: bitmap.width, height: bitmap.height };
    if (longest) found.picture = await shot(small(bitmap, longest));
    bitmap.close();
    return found;
  },

  // A picture to where the network looked, for a class, and that over a small picture of it.
  async explain({ source, wanted, longest }) {
    const bitmap = await decoded(source);
    const { about } = await model;
    const heat = await looked(squared(bitmap, about.preprocess), wanted);
    const context = small(bitmap, longest);
    bitmap.close();
    const { width, height } = context.canvas;
    const image = context.getImageData(0, 0, width, height);
    overlay(image.data, width, height, heat);
    context.putImageData(image, 0, 0);
    return { heat, picture: await shot(context) };
  },

  // What the network is shown of a picture, uint8 (size, size, 3): for checks.
  async square({ source }) {
    const { about } = await model;
    return { square: squared(await decoded(source), about.preprocess) };
  },
};

// One at a time, in the order in which they came: two at once would only wait for each other.
let last = Promise.resolve();
onmessage = ({ data: { id, task, ...given } }) => {
  last = last.then(async () => {
    try {
      postMessage({ id, ...(await tasks[task](given)) });
    } catch (error) {
      postMessage({ id, error: error.message });
    }
  });
};
