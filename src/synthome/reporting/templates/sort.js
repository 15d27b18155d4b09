"use strict";
// Headings of sortable tables become buttons: the first press puts the best on top, the next turns
// the order round. What has no number stays at the end. Without this script the table is plain.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const keyOf = (row, column) => row.querySelector(`[data-column="${column}"]`)?.dataset.sort ?? "";
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const first = head.dataset.first;
      const other = first === "ascending" ? "descending" : "ascending";
      const next = head.getAttribute("aria-sort") === first ? other : first;
      const sign = next === "ascending" ? 1 : -1;
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [keyOf(a, column), keyOf(b, column)];
        if (x === "" || y === "") return (x === "") - (y === "");
        return sign * (head.dataset.kind === "text" ? x.localeCompare(y) : x - y);
      });
      body.append(...rows);
      heads.forEach((each) => each.setAttribute("aria-sort", each === head ? next : "none"));
    });
  });
}
