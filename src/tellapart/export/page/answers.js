// What the network says of a picture, as an answer: the same words and the same thresholds as `tellapart predict`.

import { even } from "./resize.js";

// `probabilities` in the order of the classes, `score` of strangeness or null, `about` of tellapart.json.
export function judged(probabilities, score, about) {
  const { classes, guards } = about;
  let best = 0;
  for (let i = 1; i < classes.length; i += 1) if (probabilities[i] > probabilities[best]) best = i;
  const reason = refused(probabilities[best], classes[best], score, guards);
  return {
    best,
    label: reason === null ? classes[best] : null,
    probability: probabilities[best],
    probabilities: Array.from(probabilities),
    unknown: reason !== null,
    reason,
    score,
  };
}

function refused(probability, label, score, { confidence, strangeness, words }) {
  if (score !== null && strangeness !== null && !(score <= strangeness)) return words.strange;
  if (probability >= confidence) return null;
  const values = { "{label}": label, "{probability:.0%}": `${even(100 * probability)}%` };
  // Both at once: a class may be called "{probability:.0%}".
  return words.unsure.replace(/\{label\}|\{probability:\.0%\}/g, (name) => values[name]);
}

// A probability as people read it; what is not certain is never shown as 100 %.
export function percent(share) {
  const value = 100 * share;
  if (value > 99.9 && value < 100) return "> 99.9 %";
  if (value > 99) return `${(Math.floor(value * 10) / 10).toFixed(1)} %`;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  return value < 1 ? `${value.toFixed(1)} %` : `${Math.round(value)} %`;
}

// Class numbers, the most probable first.
export function ranked(probabilities) {
  return probabilities.map((_, i) => i).sort((a, b) => probabilities[b] - probabilities[a] || a - b);
}
