/* Plots on canvas, quick with thousands of dots: strips of every measure, and one measure over the
   date. A plot is one stop of the tab key; its dots are reached by arrow keys, and every dot opens
   the page of its session. */
const PLOTS = (function () {
  const PRINTED = { dot: "#000000", line: "#bbbbbb", muted: "#444444", look: "#8a5200", panel: "#ffffff", ink: "#000000" };
  let printing = false;
  const plots = new Set();

  function colours() {
    if (printing) return PRINTED;
    const style = getComputedStyle(document.documentElement), found = {};
    for (const name of Object.keys(PRINTED)) found[name] = style.getPropertyValue("--" + name).trim();
    return found;
  }

  /* plot: {node, height, fill() gives the rest: {points: [{row, far, text, …}] in the order of the
     arrow keys, radius, start: the dot that is named first, place(width) gives the dots' pixels,
     extra(context, width, colours) draws more}}; it is filled when it comes into view */
  function attach(plot) {
    plot.canvas = make("canvas", { "aria-hidden": "true" });
    plot.canvas.style.height = plot.height + "px";
    plot.marker = make("i", { class: "marker", hidden: true });
    plot.said = make("a", { class: "said", tabindex: 0 }, "…");
    plot.frame = make("div", { class: "plot" }, plot.canvas, plot.marker);
    plot.node.append(plot.frame, plot.said);
    plot.canvas.addEventListener("mousemove", event => { const i = nearest(plot, event); if (i >= 0) light(plot, i); });
    plot.canvas.addEventListener("mouseleave", () => { choose(plot, plot.start); dim(); });
    plot.canvas.addEventListener("click", event => {
      const i = nearest(plot, event), page = i >= 0 && COHORT.data.rows[plot.points[i].row].page;
      if (page) location.href = page;
    });
    plot.said.addEventListener("focus", () => { fill(plot); light(plot, plot.at); });
    plot.said.addEventListener("blur", dim);
    plot.said.addEventListener("keydown", event => {
      const last = plot.points.length - 1;
      const to = { ArrowRight: plot.at + 1, ArrowLeft: plot.at - 1, ArrowUp: plot.at + 1, ArrowDown: plot.at - 1, Home: 0, End: last }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      light(plot, Math.min(last, Math.max(0, to)));
    });
    plots.add(plot);
    watch.observe(plot.frame);
  }
  function fill(plot) {
    if (plot.points) return;
    Object.assign(plot, plot.fill());
    plot.byRow = new Map(plot.points.map((point, i) => [point.row, i]));
    choose(plot, plot.start);
  }
  function choose(plot, i) {
    const point = plot.points[i];
    if (!point) return;
    plot.at = i;
    plot.said.textContent = point.text;
    const page = COHORT.data.rows[point.row].page;
    if (page) plot.said.href = page; else plot.said.removeAttribute("href");
  }
  /* the same session lights up in every plot */
  function light(plot, i) {
    choose(plot, i);
    const row = plot.points[i].row;
    for (const other of plots) {
      const at = other === plot ? i : other.spots && other.byRow.get(row);
      if (at === undefined || !other.spots) { other.marker.hidden = true; continue; }
      other.marker.hidden = false;
      other.marker.style.left = other.spots[at][0] + "px";
      other.marker.style.top = other.spots[at][1] + "px";
    }
  }
  function dim() { plots.forEach(plot => { plot.marker.hidden = true; }); }
  function nearest(plot, event) {
    if (!plot.spots) return -1;
    let best = -1, least = 400;
    plot.spots.forEach(([x, y], i) => {
      const away = (x - event.offsetX) ** 2 + (y - event.offsetY) ** 2;
      if (away < least) { least = away; best = i; }
    });
    return best;
  }
  function paint(plot) {
    const width = plot.frame.clientWidth, height = plot.height, scale = devicePixelRatio || 1;
    if (!width) return;
    fill(plot);
    plot.canvas.width = Math.round(width * scale);
    plot.canvas.height = Math.round(height * scale);
    const context = plot.canvas.getContext("2d"), ink = colours();
    context.scale(scale, scale);
    plot.spots = plot.place(width);
    plot.extra(context, width, ink);
    context.fillStyle = ink.dot;
    context.globalAlpha = plot.points.length > 300 ? 0.45 : 0.75;
    const far = [];
    plot.points.forEach((point, i) => { if (point.far) far.push(i); else dot(context, plot.spots[i], plot.radius, true); });
    context.globalAlpha = 1;
    context.lineWidth = 2;
    context.strokeStyle = ink.look;
    for (const i of far) { context.fillStyle = ink.panel; dot(context, plot.spots[i], plot.radius + 0.5, true); dot(context, plot.spots[i], plot.radius + 0.5, false); }
  }
  function dot(context, [x, y], radius, full) {
    context.beginPath();
    context.arc(x, y, radius, 0, 7);
    if (full) context.fill(); else context.stroke();
  }
  /* paint what comes into view, and again when it changes its size */
  const watch = new IntersectionObserver(entries => {
    for (const entry of entries) if (entry.isIntersecting) for (const plot of plots) if (plot.frame === entry.target) paint(plot);
  }, { rootMargin: "300px" });
  const repaint = () => plots.forEach(plot => { if (plot.spots || printing) paint(plot); });
  let timer = 0;
  addEventListener("resize", () => { clearTimeout(timer); timer = setTimeout(repaint, 150); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  addEventListener("beforeprint", () => { printing = true; repaint(); });
  addEventListener("afterprint", () => { printing = false; repaint(); });

  function clear(inside) { for (const plot of plots) if (inside.contains(plot.frame)) { watch.unobserve(plot.frame); plots.delete(plot); } }

  /* rows that lie far by a measure, from the outliers of the cohort */
  function farRows(m) {
    const found = new Set();
    COHORT.data.rows.forEach((row, i) => { if (row.odd && row.odd.far.some(([at]) => at === m)) found.add(i); });
    return found;
  }
  function pointsOf(m) {
    const measure = COHORT.data.measures[m], far = farRows(m), points = [];
    measure.values.forEach((value, row) => { if (value !== null) points.push({ row, value, far: far.has(row) }); });
    points.sort((a, b) => a.value - b.value || a.row - b.row);
    points.forEach((point, i) => {
      point.text = `${rowLabel(COHORT.data.rows[point.row])}: ${withUnit(point.value, measure.unit)}, ${i + 1} of ${points.length}`;
    });
    return points;
  }

  /* one measure: dots that would lie on each other are stacked */
  function strip(node, m) {
    const many = COHORT.data.rows.length > 80, height = many ? 46 : 34, radius = many ? 2 : 4, middle = (height - 12) / 2;
    const filled = () => {
      const points = pointsOf(m), low = points[0].value, high = points[points.length - 1].value;
      const place = width => {
        const stacks = new Map(), wide = radius * 2 - (many ? 1 : 0), room = middle - radius;
        return points.map(point => {
          const x = high > low ? 8 + (width - 16) * (point.value - low) / (high - low) : width / 2;
          const bin = Math.round(x / wide), level = stacks.get(bin) || 0;
          stacks.set(bin, level + 1);
          const step = Math.ceil(level / 2) * (many ? 1.5 : 6) * (level % 2 ? 1 : -1);
          return [x, middle + step % room];
        });
      };
      const extra = (context, width, ink) => {
        context.fillStyle = ink.line;
        context.fillRect(0, middle, width, 1);
        context.fillStyle = ink.muted;
        context.font = "10.5px system-ui, sans-serif";
        context.textBaseline = "bottom";
        const ends = high > low ? [[0, low, "left"], [width, high, "right"]] : [[width / 2, low, "center"]];
        for (const [x, value, align] of ends) { context.textAlign = align; context.fillText(shortNumber(value), x, height); }
      };
      return { points, radius, start: Math.max(0, points.findIndex(p => p.far)), place, extra };
    };
    attach({ node, height, fill: filled });
  }
  /* the ends of a distribution as links, for those who can't point */
  function ends(m) {
    const measure = COHORT.data.measures[m];
    const list = part => make("ol", {}, part.map(p => make("li", {}, rowLink(COHORT.data.rows[p.row]), " " + withUnit(p.value, measure.unit))));
    const box = make("details", {}, make("summary", {}, "lowest and highest"));
    box.addEventListener("toggle", () => {
      if (!box.open || box.childElementCount > 1) return;
      const points = pointsOf(m);
      box.append(make("div", { class: "ends" }, list(points.slice(0, 5)), list(points.slice(-5).reverse())));
    });
    return box;
  }

  const place = document.getElementById("strips"), which = document.getElementById("which");
  function choices() {
    const before = which.value, stages = [...new Set(COHORT.data.measures.map(m => m.stage))];
    const options = [["headline", "measures that decide"], ["far", "measures with far sessions"], ...stages.map(s => ["stage " + s, s]), ["all", `all ${COHORT.data.measures.length}`]];
    if (!COHORT.data.outliers.told) options.splice(1, 1);
    which.replaceChildren(...options.map(([value, text]) => make("option", { value }, text)));
    if (options.some(([value]) => value === before)) which.value = before;
  }
  function chosen(measure, m) {
    if (measure.values.filter(v => v !== null).length < 2) return false;
    if (which.value === "headline") return measure.headline;
    if (which.value === "far") return farRows(m).size > 0;
    return which.value === "all" || which.value === "stage " + measure.stage;
  }
  function showStrips() {
    clear(place);
    place.replaceChildren();
    COHORT.data.measures.forEach((measure, m) => {
      if (!chosen(measure, m)) return;
      const title = measureName(measure) + (measure.unit ? ", " + measure.unit : "");
      const stage = measure.stage + (measure.reference ? " · ref" : "");
      const box = make("div", { class: "measure", role: "group", "aria-label": `${title}, ${measure.stage}` },
        make("span", { title: measure.definition }, title), make("span", { class: "stage-name" }, stage));
      place.append(box);
      strip(box, m);
      if (COHORT.data.rows.length >= 12) box.append(ends(m));
    });
    document.getElementById("measures").hidden = !COHORT.data.measures.length || COHORT.data.rows.length < 2;
  }

  /* one measure over the acquisition date, with the slope through the medians */
  function overTime(node, m, trend) {
    const measure = COHORT.data.measures[m];
    const points = pointsOf(m).map(point => ({ ...point, day: Date.parse(COHORT.data.factors[point.row][2]) / 86400000 }))
      .filter(point => Number.isFinite(point.day)).sort((a, b) => a.day - b.day || a.row - b.row);
    if (!points.length) return;
    points.forEach(point => { point.text = `${COHORT.data.factors[point.row][2]}, ${rowLabel(COHORT.data.rows[point.row])}: ${withUnit(point.value, measure.unit)}`; });
    const sorted = points.map(p => p.value).sort((a, b) => a - b), low = sorted[0], high = sorted[sorted.length - 1];
    const first = points[0].day, last = points[points.length - 1].day, height = 190, foot = 18, side = 52;
    const x = (day, width) => side + (width - side - 8) * (last > first ? (day - first) / (last - first) : 0.5);
    const y = value => 8 + (height - foot - 16) * (high > low ? (high - value) / (high - low) : 0.5);
    const filled = () => ({
      points, radius: points.length > 300 ? 2 : 3, start: points.length - 1,
      place: width => points.map(point => [x(point.day, width), y(point.value)]),
      extra(context, width, ink) {
        context.fillStyle = ink.muted;
        context.font = "11px system-ui, sans-serif";
        context.textAlign = "right";
        context.textBaseline = "middle";
        for (const value of [low, high]) context.fillText(shortNumber(value), side - 8, y(value));
        context.textBaseline = "bottom";
        for (const [day, align] of [[first, "left"], [last, "right"]]) { context.textAlign = align; context.fillText(new Date(day * 86400000).toISOString().slice(0, 10), x(day, width), height); }
        context.strokeStyle = ink.line;
        context.strokeRect(side, 4, width - side - 4, height - foot - 8);
        if (!trend) return;
        const at = day => quantile(sorted, 0.5) + trend.slope * (day - quantile(points.map(p => p.day), 0.5)) / 365.25;
        context.save();
        context.beginPath();
        context.rect(side, 4, width - side - 4, height - foot - 8);
        context.clip();
        context.beginPath();
        context.moveTo(x(first, width), y(at(first)));
        context.lineTo(x(last, width), y(at(last)));
        context.strokeStyle = ink.ink;
        context.lineWidth = 2;
        context.stroke();
        context.restore();
      },
    });
    attach({ node, height, fill: filled });
  }

  const all = () => { choices(); showStrips(); };
  which.addEventListener("change", showStrips);
  COHORT.listeners.push(all);
  all();
  return { overTime, clear };
})();
