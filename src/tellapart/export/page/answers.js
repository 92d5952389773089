// What the network says of a picture, as an answer: the same words and the same thresholds as `tellapart predict`.

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

function refused(probability, label, score, guards) {
  if (score !== null && guards.strangeness !== null && !(score <= guards.strangeness)) {
    return filled(guards.reasons.strange, { keep: whole(guards.keep) });
  }
  if (probability < guards.confidence) {
    const values = { label, probability: whole(probability), confidence: whole(guards.confidence) };
    return filled(guards.reasons.unsure, values);
  }
  return null;
}

// A sentence with {names} in it. Values are put in once: a class called "{keep}" stays so.
function filled(sentence, values) {
  return sentence.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
}

function whole(share) {
  return `${Math.round(100 * share)}%`;
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
