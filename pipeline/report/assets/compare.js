(function () {
  const table = document.getElementById("table"), body = table.tBodies[0];
  const rows = [...body.rows], heads = [...table.tHead.rows[0].cells];

  /* sort by any column; empty cells stay last */
  function sort(column, kind) {
    const down = heads[column].getAttribute("aria-sort") === "ascending";
    heads.forEach(head => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const read = row => row.cells[column].dataset.value || "";
    rows.sort((a, b) => {
      const x = read(a), y = read(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = kind === "number" ? Number(x) - Number(y) : x.localeCompare(y);
      return down ? -order : order;
    });
    body.append(...rows);
  }
  heads.forEach((head, column) => {
    if (head.dataset.sort) head.querySelector("button").addEventListener("click", () => sort(column, head.dataset.sort));
  });

  /* rows without a change start hidden; words filter the others */
  const box = document.getElementById("filter"), tally = document.getElementById("shown");
  const same = document.getElementById("same");
  const texts = new Map(rows.map(row => [row, row.textContent.toLowerCase()]));
  function filter() {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    const all = !same || same.getAttribute("aria-pressed") === "true";
    let count = 0;
    for (const row of rows) {
      const still = row.classList.contains("same") || row.classList.contains("none");
      row.hidden = (still && !all) || !words.every(word => texts.get(row).includes(word));
      count += !row.hidden;
    }
    tally.textContent = count === rows.length ? "" : `${count} of ${rows.length} shown`;
  }
  box.addEventListener("input", filter);
  if (same) {
    const turn = () => { same.setAttribute("aria-pressed", String(same.getAttribute("aria-pressed") !== "true")); filter(); };
    same.addEventListener("click", turn);
    if (rows.some(row => !row.classList.contains("same") && !row.classList.contains("none"))) turn();
  }
  document.addEventListener("keydown", event => {
    if (event.key === "/" && !typing(event)) { event.preventDefault(); box.focus(); }
  });

  /* paper has no buttons: everything is printed */
  const closed = [];
  addEventListener("beforeprint", () => document.querySelectorAll("details:not([open])").forEach(d => { closed.push(d); d.open = true; }));
  addEventListener("afterprint", () => closed.splice(0).forEach(d => { d.open = false; }));
})();
