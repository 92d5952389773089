// Answers as CSV, under the columns and by the rules of the command line.

const FORMULA = /^[=+\-@\t\r]/;

/** A cell that a spreadsheet would take for a formula begins with an apostrophe. */
export const guarded = (text) => (FORMULA.test(text) ? `'${text}` : text);

function row(cells) {
  return `${cells.map((cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(",")}\n`;
}

const table = (rows) => new Blob(rows.map(row), { type: "text/csv" });

/** All answers, as `tellapart predict --csv` writes them. */
export function answers(items, classes) {
  const rows = items.map((item) => {
    const one = item.prediction;
    const each = classes.map((name) => one?.probabilities[name]?.toFixed(6) ?? ""); // an older answer may lack a class
    const probability = one ? one.probability.toFixed(6) : "";
    const unknown = one?.unknown ? "true" : "false";
    return [guarded(item.name), guarded(one?.label ?? ""), probability, unknown, guarded(item.problem ?? ""), ...each];
  });
  return table([["path", "label", "probability", "unknown", "error", ...classes.map(guarded)], ...rows]);
}

/** Wrong answers with what is right, as `tellapart train --labels` reads them. */
export function wrong(items) {
  const rows = items.map((item) => {
    const one = item.prediction;
    return [guarded(item.name), guarded(item.right), guarded(one?.label ?? ""), one ? one.probability.toFixed(6) : ""];
  });
  return table([["path", "label", "answer", "probability"], ...rows]);
}
