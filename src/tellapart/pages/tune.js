"use strict";
(() => {
  // A click on the head of a column puts the rows in its order, the best or first on top.
  const table = document.getElementById("rows");
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, order: row.dataset.order.split(" ").map(Number) }));
  const heads = [...table.querySelectorAll("th[data-by]")];
  for (const head of heads) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const by = Number(head.dataset.by);
      rows.sort((a, b) => a.order[by] - b.order[by] || a.order[0] - b.order[0]);
      body.append(...rows.map((each) => each.row));
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", "ascending");
    });
  }
})();
