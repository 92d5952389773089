// Where the network looked: what a class's lead over all others loses where a part is taken away, as `tellapart explain`
// has it for networks whose end can be asked again, and the map over its picture.

import { even } from "./resize.js";

const MOST_VALUES = 10_000_000; // of all changed maps of one picture; a finer map is taken away in blocks
const AT_ONCE = 1_000_000; // values that are asked about at once, 4 MB
const COVERS = 8; // a side of the grid of covers over a picture
const COVERED_AT_ONCE = 16;
const SILENT = 1e-4; // a lead that no place moves by more is moved by none

// The log-odds of a class: its logit less the log-sum-exp of the others'.
export function lead(logits, wanted) {
  let highest = -Infinity;
  for (let i = 0; i < logits.length; i += 1) if (i !== wanted) highest = Math.max(highest, logits[i]);
  let sum = 0;
  for (let i = 0; i < logits.length; i += 1) if (i !== wanted) sum += Math.exp(logits[i] - highest);
  return logits[wanted] - highest - Math.log(sum);
}

// A feature map, float32 [height, width, channels], to heat. `ask` takes maps, float32, one behind the other, and how
// many they are, and gives the logits of each.
export async function places(map, shape, wanted, ask) {
  const [height, width, channels] = shape;
  let [rows, columns] = [height, width];
  while (rows * columns > 4 && rows * columns * map.length > MOST_VALUES) {
    rows = Math.max(Math.floor((rows * 9) / 10), 2);
    columns = Math.max(Math.floor((columns * 9) / 10), 2);
  }
  const mean = new Float64Array(channels);
  for (let i = 0; i < map.length; i += 1) mean[i % channels] += map[i];
  for (let i = 0; i < channels; i += 1) mean[i] /= height * width;
  const without = (part) => {
    const changed = map.slice();
    for (let y = part.top; y < part.bottom; y += 1) {
      for (let x = part.left; x < part.right; x += 1) changed.set(mean, (y * width + x) * channels);
    }
    return changed;
  };
  const parts = grid(height, width, rows, columns);
  const changed = [() => map, ...parts.map((part) => () => without(part))];
  const leads = await asked(changed, map.length, Math.max(Math.floor(AT_ONCE / map.length), 1), Float32Array, wanted, ask);
  return heat(leads, Math.min(rows, height));
}

// A square, uint8 [size, size, 3], to heat: parts of it are covered with its mean colour. `ask` takes squares.
export async function covers(square, size, wanted, ask) {
  const mean = [0, 0, 0];
  for (let i = 0; i < square.length; i += 1) mean[i % 3] += square[i];
  const colour = mean.map((sum) => even(sum / (size * size)));
  const parts = grid(size, size, COVERS, COVERS);
  const without = (part) => {
    const changed = square.slice();
    for (let y = part.top; y < part.bottom; y += 1) {
      for (let x = part.left; x < part.right; x += 1) changed.set(colour, (y * size + x) * 3);
    }
    return changed;
  };
  const changed = [() => square, ...parts.map((part) => () => without(part))];
  const leads = await asked(changed, square.length, COVERED_AT_ONCE, Uint8Array, wanted, ask);
  return heat(leads, Math.min(COVERS, size));
}

async function asked(changed, length, atOnce, Kind, wanted, ask) {
  const leads = [];
  for (let start = 0; start < changed.length; start += atOnce) {
    const some = changed.slice(start, start + atOnce);
    const batch = new Kind(some.length * length);
    some.forEach((make, i) => batch.set(make(), i * length));
    for (const logits of await ask(batch, some.length)) leads.push(lead(logits, wanted));
  }
  return leads;
}

// What each part took from the first lead, 0–1: {height, width, values}.
function heat([before, ...after], height) {
  const lost = after.map((each) => (Number.isFinite(before - each) ? Math.max(before - each, 0) : 0));
  const most = Math.max(...lost);
  const values = Float32Array.from(lost, (each) => (most > SILENT ? each / most : 0));
  return { height, width: values.length / height, values };
}

function grid(height, width, rows, columns) {
  const downs = ends(height, rows);
  const acrosses = ends(width, columns);
  return downs.slice(1).flatMap((bottom, i) =>
    acrosses.slice(1).map((right, j) => ({ top: downs[i], bottom, left: acrosses[j], right })),
  );
}

function ends(side, n) {
  const parts = Math.min(n, side);
  return Array.from({ length: parts + 1 }, (_, i) => even((i * side) / parts));
}

// Inferno (van der Walt and Smith, CC0), every 17th of its 256 colours.
const COLOURS = [
  [0, 0, 4], [7, 5, 27], [25, 12, 62], [51, 10, 95], [75, 12, 107], [97, 19, 110], [120, 28, 109], [143, 36, 105],
  [166, 45, 96], [187, 55, 84], [207, 68, 70], [224, 86, 53], [237, 105, 37], [247, 130, 18], [252, 157, 10],
  [250, 195, 39], [242, 234, 105], [252, 255, 164],
];

function colour(level) {
  const place = level * (COLOURS.length - 1);
  const i = Math.min(Math.floor(place), COLOURS.length - 2);
  return COLOURS[i].map((from, c) => from + (place - i) * (COLOURS[i + 1][c] - from));
}

// Heat over its picture in grey: the hotter, the brighter; what is cold stays grey. `pixels` is RGBA and is changed.
export function overlay(pixels, width, height, map) {
  const levels = enlarged(map, width, height);
  for (let i = 0, at = 0; i < levels.length; i += 1, at += 4) {
    const grey = 0.299 * pixels[at] + 0.587 * pixels[at + 1] + 0.114 * pixels[at + 2];
    const opacity = 0.65 * levels[i] ** 0.7;
    const hot = colour(levels[i]);
    for (let c = 0; c < 3; c += 1) pixels[at + c] = Math.round((1 - opacity) * grey + opacity * hot[c]);
  }
}

// A heat map smoothly to a picture's size, 0–1, by cubic interpolation.
export function enlarged(map, width, height) {
  const x = cubic(map.width, width);
  const y = cubic(map.height, height);
  const lines = new Float32Array(map.height * width);
  for (let row = 0; row < map.height; row += 1) {
    for (let i = 0; i < width; i += 1) {
      let sum = 0;
      for (let k = 0; k < 4; k += 1) sum += map.values[row * map.width + x.from[4 * i + k]] * x.weight[4 * i + k];
      lines[row * width + i] = sum;
    }
  }
  const levels = new Float32Array(width * height);
  for (let j = 0; j < height; j += 1) {
    for (let i = 0; i < width; i += 1) {
      let sum = 0;
      for (let k = 0; k < 4; k += 1) sum += lines[y.from[4 * j + k] * width + i] * y.weight[4 * j + k];
      levels[j * width + i] = Math.min(Math.max(sum, 0), 1);
    }
  }
  return levels;
}

function cubic(length, n) {
  const from = new Int32Array(4 * n);
  const weight = new Float32Array(4 * n);
  const a = -0.75;
  for (let i = 0; i < n; i += 1) {
    const place = ((i + 0.5) * length) / n - 0.5;
    const whole = Math.floor(place);
    const t = place - whole;
    const weights = [
      ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a,
      ((a + 2) * t - (a + 3)) * t * t + 1,
      ((a + 2) * (1 - t) - (a + 3)) * (1 - t) * (1 - t) + 1,
    ];
    weights.push(1 - weights[0] - weights[1] - weights[2]);
    for (let k = 0; k < 4; k += 1) {
      from[4 * i + k] = Math.min(Math.max(whole - 1 + k, 0), length - 1);
      weight[4 * i + k] = weights[k];
    }
  }
  return { from, weight };
}
