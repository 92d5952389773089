// A heat map over a picture, in the colours of `tellapart explain`.

const SIDE_PX = 256; // the longer side of the canvas, which is laid over the picture

/** A canvas of a heat map, {width, height, values: rows of 0–1}, for a picture of a ratio, width / height. */
export function heatCanvas(map, ratio) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(Math.round(ratio >= 1 ? SIDE_PX : SIDE_PX * ratio), 1);
  canvas.height = Math.max(Math.round(ratio >= 1 ? SIDE_PX / ratio : SIDE_PX), 1);
  const [across, down] = [taps(map.width, canvas.width), taps(map.height, canvas.height)];
  const rows = map.values.map((row) => across.map((some) => sum(some, (i) => row[i])));
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(canvas.width, canvas.height);
  let at = 0;
  for (const some of down) {
    for (let x = 0; x < canvas.width; x++) {
      const level = Math.min(
        Math.max(
          sum(some, (i) => rows[i][x]),
          0,
        ),
        1,
      );
      image.data.set([...inferno(level), Math.round(255 * 0.65 * level ** 0.7)], at);
      at += 4;
    }
  }
  pen.putImageData(image, 0, 0);
  return canvas;
}

const sum = (some, value) => some.reduce((total, [i, weight]) => total + weight * value(i), 0);

/** Of each of `to` places the four of `from` it is made of, and their weights: cubic convolution, a = -0.75. */
function taps(from, to) {
  const a = -0.75;
  return Array.from({ length: to }, (_, x) => {
    const place = ((x + 0.5) * from) / to - 0.5;
    const first = Math.floor(place);
    return [-1, 0, 1, 2].map((step) => {
      const d = Math.abs(place - first - step);
      const weight = d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
      return [Math.min(Math.max(first + step, 0), from - 1), weight];
    });
  });
}

// Polynomials fitted to matplotlib's map "inferno" (M. Zucker, CC0), red, green, blue, lowest power first.
const INFERNO = [
  [0.00021894, 0.10651342, 11.60249308, -41.70399613, 77.1629357, -71.31942824, 25.13112623],
  [0.001651, 0.56395644, -3.97285397, 17.43639888, -33.40235894, 32.62606426, -12.24266895],
  [-0.0194809, 3.93271239, -15.94239411, 44.3541452, -81.80730926, 73.20951986, -23.070325],
];

/** A colour, 0–255 each, for a level, 0–1. */
export function inferno(level) {
  return INFERNO.map((powers) => {
    const share = powers.reduceRight((total, each) => total * level + each, 0);
    return Math.round(255 * Math.min(Math.max(share, 0), 1));
  });
}
