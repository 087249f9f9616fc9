(function () {
  const table = document.getElementById("rows"), body = table.tBodies[0];
  const rows = [...body.rows];
  const tally = document.getElementById("shown");

  /* sort by any column; empty cells stay last */
  const heads = [...table.tHead.rows[0].cells];
  function sort(column, kind) {
    const head = heads[column];
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach(h => h.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
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

  /* filter by words and by verdict */
  const box = document.getElementById("filter");
  const levels = [...document.querySelectorAll("button.tile[data-level]")];
  function filter() {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    const on = new Set(levels.filter(b => b.getAttribute("aria-pressed") === "true").map(b => b.dataset.level));
    let count = 0;
    for (const row of rows) {
      row.words = row.words || row.textContent.toLowerCase();
      row.hidden = !on.has(row.dataset.level) || !words.every(word => row.words.includes(word));
      count += !row.hidden;
    }
    tally.textContent = count === rows.length ? "" : `${count} of ${rows.length} shown`;
  }
  box.addEventListener("input", filter);
  levels.forEach(button => button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
    filter();
  }));
  document.addEventListener("keydown", event => {
    if (event.key === "/" && !typing(event)) { event.preventDefault(); box.focus(); }
  });

  /* strips: a dot a session */
  const pages = new Map(((window.VOXELWAY_COHORT || {}).units || []).map(unit => [unit.name, unit.page]));
  const place = document.getElementById("strips");
  const data = JSON.parse(document.getElementById("data").textContent);
  function measure(strip) {
    const box = document.createElement("div");
    box.className = "measure";
    const name = document.createElement("span");
    name.textContent = strip.title + (strip.label ? " · " + strip.label : "") + (strip.unit ? ", " + strip.unit : "");
    const stage = document.createElement("span");
    stage.className = "stage-name";
    stage.textContent = strip.stage + (strip.reference ? " · ref" : "");
    box.append(name, stage);
    const values = strip.points.map(p => Number(p[1])), sorted = [...values].sort((a, b) => a - b);
    const low = sorted[0], high = sorted[sorted.length - 1], width = 330;
    const x = v => high > low ? 8 + (width - 16) * (v - low) / (high - low) : width / 2;
    const svg = draw("svg", { viewBox: `0 0 ${width} 38`, preserveAspectRatio: "xMinYMid meet", role: "list", "aria-label": name.textContent }, box);
    draw("line", { x1: 0, x2: width, y1: 15, y2: 15, class: "track" }, svg);
    const used = [];
    strip.points.forEach((point, i) => {
      const cx = x(values[i]);
      const level = used.filter(u => Math.abs(u - cx) < 7).length;
      used.push(cx);
      const link = draw("a", { role: "listitem", class: outlying(values[i], sorted) ? "far" : "" }, svg);
      if (pages.get(point[0])) link.setAttribute("href", pages.get(point[0]));
      const dot = draw("circle", { cx, cy: 15 + [0, -6, 6, -11, 11][level % 5], r: 4, "data-name": point[0] }, link);
      draw("title", {}, dot).textContent = `${point[0]}: ${point[1]}${strip.unit ? " " + strip.unit : ""}`;
    });
    const ends = high > low ? [[0, low, "start"], [width, high, "end"]] : [[width / 2, low, "middle"]];
    for (const [at, value, anchor] of ends) draw("text", { x: at, y: 36, "text-anchor": anchor }, svg).textContent = shortNumber(value);
    return box;
  }
  if (place) {
    place.append(...data.strips.map(measure));
    /* the same session in every strip lights up */
    const light = (event, on) => {
      const dot = event.target.querySelector ? event.target.querySelector("circle") || event.target : event.target;
      const name = dot.dataset && dot.dataset.name;
      if (name) place.querySelectorAll(`circle[data-name="${CSS.escape(name)}"]`).forEach(c => c.classList.toggle("same", on));
    };
    for (const [start, end] of [["mouseover", "mouseout"], ["focusin", "focusout"]]) {
      place.addEventListener(start, event => light(event, true));
      place.addEventListener(end, event => light(event, false));
    }
  }
})();
