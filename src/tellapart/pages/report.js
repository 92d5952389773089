"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // A picture that is shown twice is in the page once.
  for (const image of all("img[data-same]")) image.src = $(image.dataset.same).src;

  // The confusion matrix: a number shows its pictures, and the arrow keys go from number to number.
  const links = all(".matrix a[data-cell]");
  const cells = $("cells");
  if (!links.length || !cells) return;
  const pick = cells.classList.contains("pick");

  const choose = (link) => {
    for (const other of links) {
      other.toggleAttribute("aria-current", false);
      other.tabIndex = -1;
    }
    link.setAttribute("aria-current", "true");
    link.tabIndex = 0;
    for (const cell of all("details.cell", cells)) {
      const mine = cell.id === link.dataset.cell;
      if (pick) cell.hidden = !mine;
      cell.open = mine;
      const more = mine && cell.parentElement.closest("details");
      if (more) more.open = true;
    }
  };

  const show = (link, told) => {
    choose(link);
    const cell = $(link.dataset.cell);
    const box = cell.getBoundingClientRect();
    const late = box.top > innerHeight - 160 || box.top < 0;
    if (late) cell.scrollIntoView({ block: pick ? "nearest" : "start" });
    if (told) $("picked").textContent = cell.querySelector("summary").textContent;
  };

  for (const link of links) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      show(link, true);
    });
    link.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      const step = steps[event.key];
      if (!step) return;
      event.preventDefault();
      const rows = [...link.closest("tbody").rows];
      let y = rows.indexOf(link.closest("tr"));
      let x = link.closest("td").cellIndex;
      // On to the next number that way; empty cells are passed over.
      for (;;) {
        x += step[0];
        y += step[1];
        const cell = rows[y] && rows[y].cells[x];
        if (!cell) return;
        const found = cell.querySelector("a[data-cell]");
        if (found) {
          for (const other of links) other.tabIndex = -1;
          found.tabIndex = 0;
          found.focus();
          return;
        }
      }
    });
  }
  const first = $("cells").querySelector("details.cell");
  const start = links.find((link) => link.dataset.cell === first.id);
  if (pick && start) choose(start);
  else for (const link of links.slice(1)) link.tabIndex = -1;
})();
