"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // A picture that is shown twice is in the page once.
  for (const image of all("img[data-same]")) image.src = $(image.dataset.same).src;

  const filter = $("filter");
  if (!filter) return;
  filter.hidden = false;
  for (const button of all("button[data-all]")) button.hidden = false;

  const sections = all("section.kind").map((element) => ({
    element,
    kind: element.dataset.kind,
    more: element.querySelector("details.more"),
    cases: all("li.case", element).map((item) => ({
      item,
      classes: item.dataset.classes.split(" "),
      names: all(".path, .names li", item).map((each) => each.textContent.toLowerCase()),
    })),
  }));

  const apply = () => {
    const kind = $("by-kind").value;
    const label = $("by-class") ? $("by-class").value : "";
    const name = $("by-name").value.trim().toLowerCase();
    const narrowed = Boolean(label || name);
    let shown = 0;
    let total = 0;
    for (const section of sections) {
      let here = 0;
      for (const { item, classes, names } of section.cases) {
        const fits = (!label || classes.includes(label)) && (!name || names.some((each) => each.includes(name)));
        item.hidden = !fits;
        if (fits) here += 1;
      }
      const seen = (!kind || section.kind === kind) && here > 0;
      section.element.hidden = !seen;
      if (section.more && (narrowed || kind) && seen) section.more.open = true;
      if (seen) shown += here;
      total += section.cases.length;
    }
    $("matching").textContent =
      narrowed || kind ? `${shown.toLocaleString("en")} of ${total.toLocaleString("en")} shown` : "";
  };
  filter.addEventListener("input", apply);
  filter.addEventListener("submit", (event) => event.preventDefault());

  // Ticks. Each box carries its finished rows of the list as bytes, percent-encoded: names may be no text.
  const basket = $("basket");
  const boxes = all("input[data-row]");
  const count = () => {
    const ticked = boxes.filter((box) => box.checked);
    const pictures = ticked.reduce((sum, box) => sum + Number(box.dataset.n), 0);
    basket.hidden = ticked.length === 0;
    $("ticked").textContent = `${pictures.toLocaleString("en")} ${pictures === 1 ? "picture" : "pictures"} ticked`;
    for (const button of all("button[data-all]")) {
      const mine = boxesOf(button.dataset.all);
      button.textContent = mine.length && mine.every((box) => box.checked) ? "Untick these" : "Tick all of these";
    }
  };
  // Not those by which one of several pictures is chosen: all of them together would leave none.
  const boxesOf = (kind) =>
    boxes.filter((box) => {
      const wanted = box.closest("section").dataset.kind === kind && !("alone" in box.dataset);
      return wanted && !box.closest("li.case").hidden;
    });
  document.addEventListener("change", (event) => {
    if (event.target.matches("input[data-row]")) count();
  });
  for (const button of all("button[data-all]")) {
    button.addEventListener("click", () => {
      const mine = boxesOf(button.dataset.all);
      const tick = !mine.every((box) => box.checked);
      for (const box of mine) box.checked = tick;
      count();
    });
  }
  $("untick").addEventListener("click", () => {
    for (const box of boxes) box.checked = false;
    count();
    $("main").focus({ preventScroll: true });
  });

  const bytes = (encoded) => {
    const found = [];
    for (let i = 0; i < encoded.length; i += 1) {
      if (encoded[i] === "%") {
        found.push(parseInt(encoded.slice(i + 1, i + 3), 16));
        i += 2;
      } else found.push(encoded.charCodeAt(i));
    }
    return new Uint8Array(found);
  };
  $("download").addEventListener("click", () => {
    // One row a picture: the first box, which is of the worst finding, counts.
    const rows = new Map();
    for (const box of boxes) {
      if (box.checked) {
        for (const row of box.dataset.row.split(" ")) {
          const at = row.indexOf("!");
          if (!rows.has(row.slice(0, at))) rows.set(row.slice(0, at), row.slice(at + 1));
        }
      }
    }
    const parts = [basket.dataset.head, ...rows.values()].map(bytes);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(parts, { type: "text/csv" }));
    link.download = "moves.csv";
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });

  // A link into a section that the filter hides shows it again.
  for (const link of all(".todo a")) {
    link.addEventListener("click", () => {
      filter.reset();
      apply();
    });
  }
  count();
})();
