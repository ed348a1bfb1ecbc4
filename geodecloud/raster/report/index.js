"use strict";
(() => {
  const body = document.getElementById("scenes");
  const buttons = [...document.querySelectorAll("[data-sort]")];

  // Shares fall at first, names rise; a scene without a share comes last either way.
  function sort(name, rising) {
    const key = (row) => row.getAttribute(`data-${name}`);
    const compare = (a, b) =>
      name === "source" ? (a < b ? -1 : a > b ? 1 : 0) : Number(a) - Number(b);
    const rows = [...body.rows].sort((a, b) => {
      const [first, second] = [key(a), key(b)];
      if (first === null || second === null) return (first === null) - (second === null);
      return (rising ? 1 : -1) * compare(first, second);
    });
    body.append(...rows);
  }

  for (const button of buttons) {
    button.addEventListener("click", () => {
      const name = button.dataset.sort, head = button.closest("th");
      const now = head.getAttribute("aria-sort");
      const rising = now === "none" ? name === "source" : now === "descending";
      for (const other of buttons) other.closest("th").setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      sort(name, rising);
    });
  }
})();
