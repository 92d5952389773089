// Numbers and states in words.

/** A probability, 0–1; never 100 %, for no model is that sure. */
export function percent(share) {
  if (share >= 0.001 && share < 0.9995) return `${(100 * share).toFixed(1)} %`;
  return share > 0.5 ? "> 99.9 %" : "< 0.1 %";
}

/** How sure a calibrated probability is. */
export function sureness(share) {
  if (share >= 0.98) return "very sure";
  if (share >= 0.9) return "sure";
  if (share >= 0.7) return "fairly sure";
  if (share >= 0.5) return "not very sure";
  return "a guess";
}

export const number = (n) => n.toLocaleString("en");

export const counted = (n, one, many = `${one}s`) => `${number(n)} ${n === 1 ? one : many}`;

/** "a, b and c". */
export function listed(names, last = "and") {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} ${last} ${names.at(-1)}`;
}

export function size(bytes) {
  const mb = bytes / 2 ** 20;
  if (mb >= 1) return `${mb < 10 ? mb.toFixed(1) : Math.round(mb)} MB`;
  return `${Math.max(Math.round(bytes / 1024), 1)} kB`;
}

/** A reason of the server's as a sentence. */
export function sentence(text) {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

/** How like a training picture is, from the cosine of the two embeddings, -1 to 1. */
export function likeness(similarity) {
  if (similarity >= 0.7) return "very alike";
  if (similarity >= 0.45) return "alike";
  if (similarity >= 0.25) return "somewhat alike";
  return "not very alike";
}

/** How strange a picture is: `share`, 0–1, of the pictures that the model was checked with are less strange. */
export function strangeness(share) {
  if (share < 0.8) return "Looks like the pictures it knows";
  if (share < 0.95) return "Somewhat unusual for this model";
  return "Very unusual for this model";
}

export function stranger(share) {
  if (share >= 0.9995) return "More unusual than every picture of its own kinds that it was checked with.";
  if (share < 0.005) return "No picture of its own kinds that it was checked with was less unusual.";
  const most = Math.min(Math.round(100 * share), 99);
  return `More unusual than ${most} % of the pictures of its own kinds that it was checked with.`;
}

export function day(text) {
  const date = new Date(text);
  return Number.isNaN(date.valueOf())
    ? text
    : date.toLocaleDateString("en-GB", { day: "numeric", month: "long", year: "numeric" });
}
