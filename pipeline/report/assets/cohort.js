/* The cohort page: data, helpers, and the table with its pages, order and filters. */
const COHORT = {
  data: JSON.parse(document.getElementById("data").textContent),
  thumbnails: {},
  listeners: [],
  /* Take new data, and tell everybody who shows any of it. */
  replace(data) { COHORT.data = data; COHORT.listeners.forEach(tell => tell()); },
};
const MARKS = { ok: "✓", failed: "✕", skipped: "–", absent: "·", pass: "✓", look: "!", fail: "✕" };
const LEVELS = { fail: ["fail", 0], look: ["look", 1], absent: ["not yet", 2], pass: ["pass", 3] };
const STATES = { o: "ok", f: "failed", s: "skipped", ".": "absent" };
const NO_CELL = -1;

/* An element with attributes and children; text goes in as text, whatever it holds. */
function make(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const key in attributes || {}) {
    const value = attributes[key];
    if (value === false || value === undefined || value === null) continue;
    node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter(child => child !== null && child !== undefined && child !== ""));
  return node;
}
function measureName(measure) { return measure.title + (measure.label ? " · " + measure.label : ""); }
function withUnit(value, unit) { return shortNumber(value) + (unit ? " " + unit : ""); }
function rowLabel(row) { return `sub-${row.subject}` + (row.session ? ` ses-${row.session}` : ""); }
function rowLink(row) { return row.page ? make("a", { href: row.page }, rowLabel(row)) : make("span", {}, rowLabel(row)); }
function count(n, one, many) { return `${n} ${n === 1 ? one : many || one + "s"}`; }

(function () {
  const table = document.getElementById("rows"), body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const shown = document.getElementById("shown"), box = document.getElementById("filter");
  const pager = document.querySelector(".pager"), size = document.getElementById("size");
  const tiles = [...document.querySelectorAll("button.tile[data-level]")];
  const oddOnly = document.getElementById("odd-only");
  const state = { sort: "level", down: false, page: 0 };
  let order = [], texts = [];

  const cellValue = (i, column) => {
    const row = COHORT.data.rows[i], at = (row.cells || [])[column];
    return at === undefined || at === NO_CELL ? null : COHORT.data.measures[at].values[i];
  };
  const total = row => (row.seconds || []).reduce((sum, one) => sum + one, 0);
  const ratings = () => {
    const found = new Map();
    for (const one of VOXELWAY_RATING.all()) {
      const key = `${one.subject}/${one.session}`;
      found.set(key, [...(found.get(key) || []), one]);
    }
    return found;
  };
  let rated = ratings();

  /* what a column sorts by; null stays last */
  function key(i, name) {
    const row = COHORT.data.rows[i];
    if (name === "name") return row.name;
    if (name === "level") return LEVELS[row.level][1];
    if (name === "score") return row.score === undefined ? null : -row.score;
    if (name === "states") return [...(row.states || "")].filter(letter => letter !== "o").length;
    if (name === "seconds") return total(row) || null;
    if (name === "rating") { const own = rated.get(`${row.subject}/${row.session}`); return own ? own.map(one => one.rating).join() : null; }
    return cellValue(i, Number(name.split(" ")[1]));
  }
  function arrange() {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    const on = new Set(tiles.filter(b => b.getAttribute("aria-pressed") === "true").map(b => b.dataset.level));
    const odd = oddOnly.querySelector("input").checked && !oddOnly.hidden;
    const keys = COHORT.data.rows.map((_, i) => key(i, state.sort));
    order = COHORT.data.rows.map((_, i) => i).filter(i => {
      const row = COHORT.data.rows[i];
      return on.has(row.level) && (!odd || row.odd) && words.every(word => textOf(i).includes(word));
    });
    order.sort((a, b) => {
      const x = keys[a], y = keys[b];
      if (x === null || y === null) return (x === null) - (y === null) || a - b;
      const way = typeof x === "string" ? (x < y ? -1 : x > y ? 1 : 0) : x - y;
      return (state.down ? -way : way) || a - b;
    });
  }
  /* everything that the filter finds in a row */
  function textOf(i) {
    if (texts[i] === undefined) {
      const row = COHORT.data.rows[i];
      texts[i] = [rowLabel(row), LEVELS[row.level][0], ...(row.reasons || []).map(r => r[1]), ...(row.acquired || []),
        ...(row.synthetic || []).map(s => s + " synthetic"), ...Object.entries(row.codes || {}).flat(), ...COHORT.data.factors[i]].join(" ").toLowerCase();
    }
    return texts[i];
  }

  function mark(state) { return make("span", { class: `mark ${state}`, "aria-hidden": "true" }, MARKS[state]); }
  function verdict(row) {
    const level = make("span", { class: `level ${row.level}` }, mark(row.level), " " + LEVELS[row.level][0]);
    const reasons = row.reasons || [], items = reasons.slice(0, 3).map(([, text, anchor]) =>
      make("li", {}, row.page ? make("a", { href: `${row.page}#${anchor}` }, text) : text));
    if (reasons.length > 3) items.push(make("li", { class: "muted" }, `and ${reasons.length - 3} more`));
    if (!row.session) items.push(make("li", {}, make("a", { href: "#quarantine" }, "no usable series")));
    return make("td", { class: "judged" }, level, make("ul", {}, items));
  }
  function odd(row) {
    const cell = make("td", { class: "odd-column", hidden: !COHORT.data.outliers.told });
    if (row.score !== undefined) {
      const title = `isolation forest ${row.score}; unusual above ${COHORT.data.outliers.forest_score}`;
      cell.append(make("span", { class: row.odd && row.odd.forest ? "score high" : "score", title }, row.score.toFixed(2)));
    }
    if (row.odd) {
      const named = row.odd.forest && row.odd.why.length ? row.odd.why : row.odd.far;
      const texts = named.slice(0, 2).map(([m]) => measureName(COHORT.data.measures[m]));
      if (named.length > 2) texts.push(`and ${named.length - 2} more`);
      cell.append(make("ul", {}, texts.map(text => make("li", {}, text))));
    }
    return cell;
  }
  function stages(row) {
    const items = COHORT.data.stages.map((stage, n) => {
      const state = STATES[row.states[n]], code = (row.codes || {})[stage];
      const said = state === "ok" ? `done in ${(row.seconds || [])[n].toFixed(1)} s` : state === "absent" ? "not yet" : state;
      const text = `${stage}: ${said}` + (code ? ` (${code})` : "");
      return make("li", { class: state, title: text }, mark(state), make("span", { class: "sr" }, text));
    });
    return make("td", { class: "states" }, make("ol", { "aria-label": "stages" }, items));
  }
  function cell(i, column) {
    const value = cellValue(i, column);
    if (value === null) return make("td", { class: "num" }, make("span", { class: "muted" }, "–"));
    const measure = COHORT.data.measures[COHORT.data.rows[i].cells[column]];
    return make("td", { class: "num" }, make("data", { value, title: `${measureName(measure)}: ${value}` }, shortNumber(value)));
  }
  function rating(row) {
    const own = rated.get(`${row.subject}/${row.session}`) || [];
    const items = own.map(one => make("li", { class: one.rating, title: one.comment }, `${one.stage || "session"}: ${one.rating}`));
    return make("td", { class: "rating-column", hidden: !rated.size }, make("ul", {}, items));
  }
  function line(i) {
    const row = COHORT.data.rows[i], picture = COHORT.thumbnails[row.name];
    const image = picture ? make("img", { src: picture, alt: "" }) : null;
    const chips = [...(row.acquired || []).map(s => make("span", { class: "chip" }, s)), ...(row.synthetic || []).map(s => make("span", { class: "chip made" }, s + " synthetic"))];
    const name = row.page ? make("a", { href: row.page }, `sub-${row.subject}`) : `sub-${row.subject}`;
    const seconds = total(row);
    return make("tr", { "data-level": row.level },
      make("td", { class: "thumb" }, image && row.page ? make("a", { href: row.page, tabindex: -1, "aria-hidden": "true" }, image) : image),
      make("th", { scope: "row" }, name, make("span", { class: "muted" }, row.session ? `ses-${row.session}` : "no session"), make("span", { class: "contrasts" }, chips)),
      verdict(row), odd(row), stages(row), COHORT.data.columns.map((_, n) => cell(i, n)),
      make("td", { class: "num" }, seconds ? seconds.toFixed(0) : "–"), rating(row));
  }

  function show() {
    const step = Number(size.value) || order.length || 1, pages = Math.max(1, Math.ceil(order.length / step));
    state.page = Math.min(Math.max(0, state.page), pages - 1);
    const first = state.page * step, part = order.slice(first, first + step);
    body.replaceChildren(...part.map(line));
    const all = COHORT.data.rows.length;
    shown.textContent = order.length === all ? "" : `${order.length} of ${all} match`;
    pager.hidden = all <= 25;
    pager.querySelector("span").textContent = order.length ? `${first + 1} to ${first + part.length} of ${order.length}` : "none";
    const [back, on] = pager.querySelectorAll("button");
    back.disabled = state.page === 0;
    on.disabled = state.page >= pages - 1;
  }
  function again() { state.page = 0; arrange(); show(); }
  function sort(head) {
    const name = head.dataset.sort, same = state.sort === name;
    state.down = same ? !state.down : false;
    state.sort = name;
    heads.forEach(h => h.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
    again();
  }
  function fresh() {
    texts = [];
    for (const tile of tiles) {
      const n = COHORT.data.rows.filter(row => row.level === tile.dataset.level).length;
      tile.querySelector("b").textContent = n;
      tile.hidden = !n && tile.dataset.level === "absent";
    }
    document.getElementById("sessions").textContent = COHORT.data.sessions;
    oddOnly.hidden = !COHORT.data.outliers.told;
    heads.forEach(h => {
      if (h.classList.contains("odd-column")) h.hidden = !COHORT.data.outliers.told;
      if (h.classList.contains("rating-column")) h.hidden = !rated.size;
    });
    arrange();
    show();
  }

  heads.forEach(head => { if (head.dataset.sort) head.querySelector("button").addEventListener("click", () => sort(head)); });
  box.addEventListener("input", again);
  oddOnly.addEventListener("change", again);
  size.addEventListener("change", again);
  tiles.forEach(tile => tile.addEventListener("click", () => {
    tile.setAttribute("aria-pressed", String(tile.getAttribute("aria-pressed") !== "true"));
    again();
  }));
  pager.addEventListener("click", event => {
    const button = event.target.closest("button");
    if (!button) return;
    state.page += Number(button.dataset.step);
    show();
    document.getElementById("sessions-part").scrollIntoView();
  });
  document.addEventListener("keydown", event => {
    if (typing(event)) return;
    const step = { n: 1, p: -1 }[event.key];
    if (event.key === "/") { event.preventDefault(); box.focus(); }
    else if (step && !pager.hidden) { state.page += step; show(); }
  });
  VOXELWAY_RATING.listen(() => { rated = ratings(); fresh(); });
  COHORT.listeners.push(fresh);
  document.body.classList.add("scripted");
  document.querySelectorAll("section.js").forEach(part => { part.hidden = false; });
  const more = document.getElementById("thumbnails");
  COHORT.thumbnails = JSON.parse(more.textContent);
  more.remove();
  fresh();
})();
