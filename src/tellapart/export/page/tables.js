// Tables to download, as `tellapart predict --csv` and `tellapart train --labels` have them.

const FORMULA = /^[=+\-@\t\r]/;

// A cell that a spreadsheet would take for a formula begins with an apostrophe.
function guarded(text) {
  return FORMULA.test(text) ? `'${text}` : text;
}

function cell(text) {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function csv(rows) {
  return rows.map((row) => `${row.map((each) => cell(guarded(String(each)))).join(",")}\n`).join("");
}

export function download(name, content, type = "text/csv") {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// Pictures that were answered wrongly, with the right label.
export function labelRows(entries) {
  return [["path", "label"], ...entries.map((each) => [each.name, each.right])];
}

// All answers.
export function answerRows(entries, classes) {
  const header = ["path", "label", "probability", "unknown", "error", ...classes];
  const rows = entries.map(({ name, answer, error }) =>
    answer
      ? [
          name,
          answer.label ?? "",
          answer.probability.toFixed(6),
          answer.unknown,
          "",
          ...answer.probabilities.map((each) => each.toFixed(6)),
        ]
      : [name, "", "", "false", error, ...classes.map(() => "")],
  );
  return [header, ...rows];
}
