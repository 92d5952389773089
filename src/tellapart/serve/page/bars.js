// The classes of an answer with their probabilities, as a table whose bars are drawn.

import { el } from "./dom.js";
import { percent } from "./words.js";

/** A table of the classes from place `first` on, `most` of them. */
export function bars(item, first = 0, most = Infinity) {
  const rows = item.ranked.slice(first, first + most).map(([name, share], i) => {
    const fill = el("span", { className: "fill" });
    fill.style.width = `${100 * share}%`;
    const leads = first + i === 0 && item.kind === "answered";
    return el(
      "tr",
      { className: leads ? "leads" : "" },
      el("th", { scope: "row" }, el("bdi", { textContent: name, title: name })),
      el("td", { className: "track" }, el("span", { className: "groove" }, fill)),
      el("td", { className: "share", textContent: percent(share) }),
    );
  });
  const head = el(
    "thead",
    { className: "unseen" },
    el("tr", {}, ...["Class", "Bar", "Probability"].map((name) => el("th", { scope: "col", textContent: name }))),
  );
  const caption = el("caption", { className: "unseen", textContent: `How probable each class is for ${item.name}` });
  const columns = el("colgroup", {}, ...["who", "", "share"].map((className) => el("col", { className })));
  return el("table", { className: "bars" }, caption, columns, head, el("tbody", {}, ...rows));
}
