(function () {
  const cohort = window.VOXELWAY_COHORT;
  const me = document.body.dataset.unit;

  /* where each number lies in the cohort */
  function strip(node, values) {
    const value = Number(node.dataset.value);
    const low = Math.min(values[0], value), high = Math.max(values[values.length - 1], value);
    const place = v => high > low ? 4 + 54 * (v - low) / (high - low) : 31;
    const svg = draw("svg", { viewBox: "0 0 62 14", "aria-hidden": "true" }, node);
    draw("line", { x1: 0, x2: 62, y1: 7, y2: 7, class: "track" }, svg);
    const step = Math.max(1, Math.floor(values.length / 200));
    for (let i = 0; i < values.length; i += step) draw("line", { x1: place(values[i]), x2: place(values[i]), y1: 3, y2: 11, class: "tick" }, svg);
    draw("circle", { cx: place(value), cy: 7, r: 4, class: outlying(value, values) ? "here far" : "here" }, svg);
    const range = document.createElement("span");
    range.className = "range";
    range.textContent = low === high ? "all " + shortNumber(low) : shortNumber(low) + " – " + shortNumber(high);
    node.appendChild(range);
    /* of a large cohort the page loads evenly spaced values, and how many there were */
    const all = (cohort.counts || {})[node.dataset.key] || values.length, about = all > values.length ? "about " : "";
    const below = Math.round(values.filter(v => v < value).length * all / values.length);
    const words = `${about}${below} of ${all} sessions are below; median ${shortNumber(quantile(values, 0.5))}` + (outlying(value, values) ? "; far from the others" : "");
    node.title = words;
    const read = document.createElement("span");
    read.className = "sr";
    read.textContent = `, ${words}`;
    node.appendChild(read);
  }

  if (cohort && cohort.metrics) {
    let drawn = 0;
    for (const node of document.querySelectorAll(".strip")) {
      const values = cohort.metrics[node.dataset.key];
      if (values && values.length > 1) { strip(node, values); drawn++; }
    }
    if (drawn) document.body.classList.add("with-cohort");
    const pages = (cohort.units || []).filter(unit => unit.page);
    const here = pages.findIndex(unit => unit.name === me);
    const links = document.querySelector(".neighbours");
    const set = (rel, unit) => { const a = links.querySelector(`[rel=${rel}]`); if (unit) a.href = unit.page; else a.hidden = true; };
    if (here >= 0 && pages.length > 1) { links.hidden = false; set("prev", pages[here - 1]); set("next", pages[here + 1]); }
  }

  /* pictures: bases replace each other, overlays lie on top */
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  function bases(figure) { return [...figure.querySelectorAll("img.base")]; }
  function choose(figure, index) {
    bases(figure).forEach((image, i) => { image.hidden = i !== index; });
    figure.querySelectorAll("[data-base]").forEach((b, i) => b.setAttribute("aria-pressed", String(i === index)));
  }
  function shown(figure) { return bases(figure).findIndex(image => !image.hidden); }
  function toggleOverlay(figure, index) {
    const image = figure.querySelectorAll("img.over")[index];
    if (!image) return;
    image.hidden = !image.hidden;
    figure.querySelector(`[data-overlay="${index}"]`).setAttribute("aria-pressed", String(!image.hidden));
  }
  function flicker(figure) {
    const button = figure.querySelector("[data-flicker]");
    if (!button) return;
    if (figure.timer) {
      clearInterval(figure.timer); figure.timer = 0; choose(figure, 0);
    } else {
      choose(figure, shown(figure) === 1 ? 0 : 1);
      figure.timer = setInterval(() => choose(figure, shown(figure) === 0 ? 1 : 0), calm ? 1500 : 600);
    }
    button.setAttribute("aria-pressed", String(Boolean(figure.timer)));
  }
  function zoom(figure) {
    const body = figure.closest(".body");
    const large = body.classList.toggle("large");
    body.querySelectorAll("[data-zoom]").forEach(b => { b.textContent = large ? "smaller" : "larger"; b.setAttribute("aria-pressed", String(large)); });
    figure.scrollIntoView({ block: "nearest" });
  }
  const figures = [...document.querySelectorAll("figure.picture")];
  for (const figure of figures) {
    figure.addEventListener("click", event => {
      const button = event.target.closest("button");
      if (!button) return;
      if (button.dataset.base !== undefined) { if (figure.timer) flicker(figure); choose(figure, Number(button.dataset.base)); }
      else if (button.dataset.overlay !== undefined) toggleOverlay(figure, Number(button.dataset.overlay));
      else if (button.dataset.flicker !== undefined) flicker(figure);
      else if (button.dataset.zoom !== undefined) zoom(figure);
    });
  }

  /* keys work on the focused picture, or on the one nearest to the middle of the window */
  function current() {
    const focused = document.activeElement && document.activeElement.closest("figure.picture");
    if (focused) return focused;
    const middle = innerHeight / 2;
    let best = null, least = Infinity;
    for (const figure of figures) {
      const box = figure.getBoundingClientRect();
      const away = Math.max(box.top - middle, middle - box.bottom, 0);
      if (away < least) { least = away; best = figure; }
    }
    return best;
  }
  const sections = [...document.querySelectorAll("section.stage")];
  function section(step) {
    const at = sections.filter(s => s.getBoundingClientRect().top < 70).length - 1;
    const target = sections[Math.min(sections.length - 1, Math.max(0, at + step))];
    target.scrollIntoView({ behavior: calm ? "auto" : "smooth" });
  }
  const help = document.getElementById("help");
  document.getElementById("keys").addEventListener("click", () => help.showModal());
  function go(selector) { const a = document.querySelector(selector); if (a && a.href && !a.hidden) location.href = a.href; }
  document.addEventListener("keydown", event => {
    if (typing(event)) return;
    const figure = current(), key = event.key.toLowerCase();
    if (key === "?") help.open ? help.close() : help.showModal();
    else if (key === "j") section(1);
    else if (key === "k") section(-1);
    else if (key === "]") go(".neighbours [rel=next]");
    else if (key === "[") go(".neighbours [rel=prev]");
    else if (key === "u") location.href = "index.html";
    else if (!figure) return;
    else if (key === "f") flicker(figure);
    else if (key === "c") figure.querySelectorAll("img.over").forEach((_, i) => toggleOverlay(figure, i));
    else if (key === "z") zoom(figure);
    else if (/^[1-9]$/.test(key)) { if (bases(figure)[key - 1]) { if (figure.timer) flicker(figure); choose(figure, key - 1); } }
  });

  /* mark the section in view in the strip of stages */
  const steps = new Map([...document.querySelectorAll(".stages a")].map(a => [a.hash.slice(1), a]));
  const seen = new IntersectionObserver(entries => {
    for (const entry of entries) if (entry.isIntersecting) {
      steps.forEach(a => a.removeAttribute("aria-current"));
      steps.get(entry.target.id).setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-15% 0px -75% 0px" });
  sections.forEach(s => seen.observe(s));
  addEventListener("beforeprint", () => figures.forEach(f => { if (f.timer) flicker(f); }));
})();
