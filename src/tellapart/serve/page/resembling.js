// What a picture resembles: the nearest training pictures, and how usual it is for the model.

import { el } from "./dom.js";
import { likeness, listed, strangeness, stranger } from "./words.js";

/** The elements that show the nearest training pictures, the nearest first; none where none are known. */
export function nearest(found) {
  if (!found.length) return [];
  const counts = new Map();
  for (const { label } of found) if (label !== null) counts.set(label, (counts.get(label) ?? 0) + 1);
  const most = [...counts].sort((a, b) => b[1] - a[1]).map(([name, n]) => `${n} × ${name}`);
  const heading =
    found.length === 1 ? "The training picture most like it" : `The ${found.length} training pictures most like it`;
  const pictured = found.some((each) => each.thumbnail);
  const tiles = found.map(({ label, similarity, thumbnail }) => {
    const named = el("b", {}, el("bdi", { textContent: label ?? "class not known" }));
    const alike = el("span", {
      textContent: likeness(similarity),
      title: `cosine similarity ${similarity.toFixed(2)}`,
    });
    const image = thumbnail ? el("img", { src: thumbnail, alt: "", draggable: false }) : null;
    const frame = pictured ? el("div", { className: "frame" }, image) : null;
    return el("li", {}, frame, named, alike);
  });
  return [
    el("h4", { textContent: heading }),
    el("p", { className: "note", textContent: most.length ? listed(most) : "" }),
    el("ul", { className: pictured ? "tiles" : "lines" }, ...tiles),
  ];
}

/** How usual a picture is, as a point on a line and in words. */
export function usual(share) {
  const point = el("span", { className: "point" });
  point.style.left = `${100 * share}%`;
  return el(
    "div",
    { className: "strange" },
    el("p", { textContent: strangeness(share) }),
    el("div", { className: "line", "aria-hidden": "true" }, el("i"), el("i"), el("i"), point),
    el("p", { className: "note", textContent: stranger(share) }),
  );
}
