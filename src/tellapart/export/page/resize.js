// A picture to the network's square, pixel for pixel as Python does it (tellapart's `preprocess.fit`, by OpenCV).
//
// An axis that shrinks is averaged over areas, one that grows is interpolated linearly; the shrinking comes first. Rows
// come in from the top, as many at a time as the caller likes, so that a photo need never be in memory twice.

const BITS = 11; // of the weights of linear interpolation

// The part of a picture that is shown to the network: all of it, or the largest centred square.
export function shown(width, height, fit) {
  if (fit !== "crop") return { left: 0, top: 0, width, height };
  const side = Math.min(width, height);
  return { left: Math.floor((width - side) / 2), top: Math.floor((height - side) / 2), width: side, height: side };
}

export class Square {
  // `width` and `height` of what will come in, `size` of the square.
  constructor(width, height, size) {
    this.width = width;
    this.height = height;
    this.size = size;
    this.across = Math.min(width, size);
    this.down = Math.min(height, size);
    this.shrunk = new Uint8Array(this.across * this.down * 3);
    // OpenCV has ways of its own for blocks of whole px: it adds them up first, and rounds a half of 2 × 2 px upwards.
    this.block = width % this.across === 0 && height % this.down === 0;
    this.quarter = width === 2 * this.across && height === 2 * this.down;
    this.columns = shares(width, this.across, this.block);
    this.rows = shares(height, this.down, this.block);
    this.line = new Float32Array(this.across * 3);
    this.sum = new Float32Array(this.across * 3);
    this.seen = 0; // rows that came in
    this.next = 0; // of `rows`
  }

  // More rows: RGBA, 0–255, opaque, as a canvas gives them.
  push(rgba) {
    const stride = this.width * 4;
    const { entries } = this.rows;
    for (let at = 0; at < rgba.length; at += stride, this.seen += 1) {
      if (this.width === this.across && this.height === this.down) {
        this.copy(rgba, at);
        continue;
      }
      this.along(rgba, at);
      for (; this.next < entries.length && entries[this.next].from === this.seen; this.next += 1) {
        const { to, weight } = entries[this.next];
        for (let i = 0; i < this.sum.length; i += 1) this.sum[i] += Math.fround(this.line[i] * weight);
        if (entries[this.next + 1]?.to !== to) this.settle(to);
      }
    }
  }

  // RGB, uint8 (size, size, 3), row by row.
  done() {
    if (this.seen !== this.height) throw new Error(`${this.height} rows must come in; ${this.seen} came.`);
    const { across, down, size } = this;
    return across === size && down === size ? this.shrunk : grown(this.shrunk, across, down, size);
  }

  copy(rgba, at) {
    for (let x = 0, to = this.seen * this.across * 3; x < this.across; x += 1, at += 4, to += 3) {
      this.shrunk[to] = rgba[at];
      this.shrunk[to + 1] = rgba[at + 1];
      this.shrunk[to + 2] = rgba[at + 2];
    }
  }

  along(rgba, at) {
    const { from, to, weight } = this.columns;
    const { line } = this;
    line.fill(0);
    for (let i = 0; i < from.length; i += 1) {
      const source = at + from[i] * 4;
      const target = to[i] * 3;
      line[target] += Math.fround(rgba[source] * weight[i]);
      line[target + 1] += Math.fround(rgba[source + 1] * weight[i]);
      line[target + 2] += Math.fround(rgba[source + 2] * weight[i]);
    }
  }

  settle(row) {
    const start = row * this.across * 3;
    const { sum, shrunk } = this;
    const share = Math.fround(this.block ? 1 / ((this.width / this.across) * (this.height / this.down)) : 1);
    for (let i = 0; i < sum.length; i += 1) {
      shrunk[start + i] = this.quarter ? (sum[i] + 2) >> 2 : even(Math.fround(sum[i] * share));
    }
    sum.fill(0);
  }
}

// Which share of each px of a line of `length` goes to which of `n` parts; all of it where `block` says so.
function shares(length, n, block) {
  const scale = length / n;
  const entries = [];
  for (let to = 0; to < n; to += 1) {
    const begin = to * scale;
    const end = begin + scale;
    const cell = Math.min(scale, length - begin);
    const last = Math.min(Math.floor(end), length - 1);
    const first = Math.min(Math.ceil(begin), last);
    if (first - begin > 1e-3) entries.push({ from: first - 1, to, weight: Math.fround((first - begin) / cell) });
    for (let from = first; from < last; from += 1) entries.push({ from, to, weight: block ? 1 : Math.fround(1 / cell) });
    if (end - last > 1e-3) {
      const weight = block ? 1 : Math.fround(Math.min(end - last, 1, cell) / cell);
      entries.push({ from: last, to, weight });
    }
  }
  return {
    entries,
    from: Int32Array.from(entries, (each) => each.from),
    to: Int32Array.from(entries, (each) => each.to),
    weight: Float32Array.from(entries, (each) => each.weight),
  };
}

// To the nearest whole number, a half to the even one.
export function even(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

// RGB of across × down px, linearly to size × size, in the fixed point arithmetic of OpenCV.
function grown(pixels, across, down, size) {
  const x = places(across, size, true);
  const y = places(down, size, false);
  const lines = [new Int32Array(size * 3), new Int32Array(size * 3)];
  const square = new Uint8Array(size * size * 3);
  const line = (row, into) => {
    for (let i = 0; i < size; i += 1) {
      const left = (row * across + x.first[i]) * 3;
      const right = (row * across + x.second[i]) * 3;
      for (let c = 0; c < 3; c += 1) {
        into[i * 3 + c] = pixels[left + c] * x.near[i] + pixels[right + c] * x.far[i];
      }
    }
  };
  for (let i = 0; i < size; i += 1) {
    line(y.first[i], lines[0]);
    line(y.second[i], lines[1]);
    for (let j = 0; j < size * 3; j += 1) {
      const above = (y.near[i] * (lines[0][j] >> 4)) >> 16;
      const below = (y.far[i] * (lines[1][j] >> 4)) >> 16;
      square[i * size * 3 + j] = (above + below + 2) >> 2;
    }
  }
  return square;
}

// Between which two px of a line of `length` each of `n` px lies, and their weights, of 2^11. Beyond the first and the last
// px there is only that one: OpenCV counts it once along a row and, as two that are alike, twice down a column.
function places(length, n, once) {
  const first = new Int32Array(n);
  const second = new Int32Array(n);
  const near = new Int32Array(n);
  const far = new Int32Array(n);
  for (let i = 0; i < n; i += 1) {
    const place = Math.fround((i + 0.5) * (length / n) - 0.5);
    const whole = Math.floor(place);
    const beyond = whole < 0 || whole >= length - 1;
    const share = once && beyond ? 0 : Math.fround(place - whole);
    first[i] = Math.min(Math.max(whole, 0), length - 1);
    second[i] = Math.min(Math.max(whole + 1, 0), length - 1);
    near[i] = even(Math.fround(1 - share) * (1 << BITS));
    far[i] = even(share * (1 << BITS));
  }
  return { first, second, near, far };
}
