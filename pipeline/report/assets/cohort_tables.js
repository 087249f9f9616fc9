/* Lists and tables below the plots: unusual sessions, scanners and sites, dates, costs. */
(function () {
  const place = name => document.querySelector(`#${name} .place`);
  const LISTED = 50;

  function table(head, rows, caption) {
    const heads = head.map(([text, kind]) => make("th", { scope: "col", class: kind }, text));
    const lines = rows.map(cells => make("tr", {}, cells.map((cell, n) => make(n ? "td" : "th", n ? { class: head[n][1] } : { scope: "row" }, cell))));
    return make("div", { class: "scroll" }, make("table", { class: "plain" }, caption ? make("caption", {}, caption) : "", make("thead", {}, make("tr", {}, heads)), make("tbody", {}, lines)));
  }
  function p(text) { return text < 0.001 ? "< 0.001" : text.toPrecision(2); }
  function nameOf(m) { return `${measureName(COHORT.data.measures[m])} (${COHORT.data.measures[m].stage})`; }
  function more(rows, shown) { return rows > shown ? make("p", { class: "muted small" }, `and ${rows - shown} more; sort the table above by “Unusual” to see them.`) : ""; }

  /* unusual sessions, in plain words */
  function against(m, i, medians) {
    const measure = COHORT.data.measures[m], value = measure.values[i];
    if (value === null) return `${nameOf(m)} is missing`;
    return `${nameOf(m)} ${withUnit(value, measure.unit)} where the median is ${withUnit(medians(m), measure.unit)}`;
  }
  function unusual() {
    const { data } = COHORT, limits = data.outliers, box = place("unusual");
    if (!limits.told) {
      box.replaceChildren(make("p", { class: "calm" }, `Told from ${count(limits.fewest, "subject")} on; this cohort has ${limits.subjects}.`));
      return;
    }
    const known = new Map();
    const medians = m => {
      if (!known.has(m)) known.set(m, quantile(data.measures[m].values.filter(v => v !== null).sort((a, b) => a - b), 0.5));
      return known.get(m);
    };
    const odd = data.rows.map((row, i) => [row, i]).filter(([row]) => row.odd);
    const whole = odd.filter(([row]) => row.odd.forest).sort((a, b) => b[0].score - a[0].score);
    const single = odd.filter(([row]) => !row.odd.forest).sort((a, b) => Math.abs(b[0].odd.far[0][1]) - Math.abs(a[0].odd.far[0][1]));
    const item = ([row, i]) => {
      const causes = row.odd.forest && row.odd.why.length ? row.odd.why : row.odd.far;
      const tail = row.odd.forest ? ` score ${row.score.toFixed(2)}; ` : ` ${Math.abs(row.odd.far[0][1]).toFixed(1)} robust standard deviations away; `;
      return make("li", {}, rowLink(row), tail, causes.slice(0, 3).map(([m]) => against(m, i, medians)).join("; ") + (causes.length > 3 ? `; and ${causes.length - 3} more` : ""));
    };
    const list = (title, does, rows) => [make("h3", {}, title, make("span", { class: "does" }, does)),
      rows.length ? make("ol", { class: "odd-list" }, rows.slice(0, LISTED).map(item)) : make("p", { class: "calm" }, "None."), more(rows.length, LISTED)];
    box.replaceChildren(...[
      ...list(`As a whole: ${whole.length}`, `Isolation forest over all measures, score above ${limits.forest_score}; named are the measures whose return to the median lowers the score most.`, whole),
      ...list(`By one measure: ${single.length}`, `More than ${limits.robust_z} robust standard deviations (scaled median absolute deviations) from the median, on the worse side where there is one. Of many measures a few lie there by chance.`, single),
      make("p", { class: "muted small" }, "Liu et al. 2008, doi:10.1109/ICDM.2008.17; Leys et al. 2013, doi:10.1016/j.jesp.2013.03.013."),
    ].filter(Boolean));
  }

  /* scanners, sites, field strengths */
  function batch() {
    const parts = COHORT.data.batch.by.map(by => {
      const groups = by.groups.slice(0, 8).map(([name, n]) => `${name} (${n})`).join(", ") + (by.groups.length > 8 ? `, and ${by.groups.length - 8} more` : "");
      const title = make("h3", {}, by.name.charAt(0).toUpperCase() + by.name.slice(1), make("span", { class: "does" }, by.groups.length > 1 ? groups : ""));
      if (by.silent) return make("div", { class: "factor" }, title, make("p", { class: "calm" }, by.silent));
      const sure = by.effects.filter(e => e.holm < 0.05), shown = (sure.length ? sure : by.effects).slice(0, 12);
      const said = sure.length ? `${sure.length} of ${by.effects.length} measures differ between groups (corrected p under 0.05).` : `None of ${by.effects.length} measures differs between groups beyond chance; the largest shares:`;
      const rows = shown.map(e => {
        const unit = COHORT.data.measures[e.m].unit, most = e.groups[0], least = e.groups[e.groups.length - 1];
        return [nameOf(e.m), share(e.share), p(e.holm), `${withUnit(most[2], unit)} ${most[0]}`, `${withUnit(least[2], unit)} ${least[0]}`];
      });
      return make("div", { class: "factor" }, title, make("p", {}, said), table([["measure"], ["explained"], ["p, Holm", "num"], ["largest median"], ["smallest median"]], rows));
    });
    place("batch").replaceChildren(...parts);
  }
  function share(value) {
    const bar = make("i", { class: "bar-share", "aria-hidden": "true" });
    bar.style.width = Math.round(60 * Math.min(1, value)) + "px";
    return make("span", { class: "share" }, bar, `${(100 * value).toFixed(0)} %`);
  }

  /* trends over the date */
  function dates() {
    const { trends, undated, dated } = COHORT.data.batch, box = place("dates");
    PLOTS.clear(box);
    if (undated) { box.replaceChildren(make("p", { class: "calm" }, undated)); return; }
    const sure = trends.filter(t => t.holm < 0.05), shown = (sure.length ? sure : trends).slice(0, 12);
    const said = sure.length ? `${sure.length} of ${trends.length} measures change with the date (corrected p under 0.05).` : `None of ${trends.length} measures changes with the date beyond chance.`;
    const rows = shown.map(t => {
      const sign = value => (value > 0 ? "+" : "") + shortNumber(value);
      const unit = COHORT.data.measures[t.m].unit;
      return [nameOf(t.m), `${sign(t.slope)}${unit ? " " + unit : ""} a year`, `${sign(t.low)} to ${sign(t.high)}`, t.rho.toFixed(2), p(t.holm), String(t.n)];
    });
    const pick = make("select", {}, trends.map(t => make("option", { value: t.m }, nameOf(t.m))));
    const plot = make("div", { class: "over-time" });
    const draw = () => {
      PLOTS.clear(plot);
      plot.replaceChildren();
      PLOTS.overTime(plot, Number(pick.value), trends.find(t => t.m === Number(pick.value)));
    };
    pick.addEventListener("change", draw);
    box.replaceChildren(make("p", {}, `${count(dated, "subject")} with a date. ${said}`),
      make("div", { class: "beside" }, table([["measure"], ["slope", "num"], ["95 % interval", "num"], ["rho", "num"], ["p, Holm", "num"], ["subjects", "num"]], rows),
        make("div", {}, make("label", { class: "filter" }, "Plot ", pick), plot)));
    draw();
  }

  function costs() {
    const link = name => { const row = COHORT.data.rows.find(one => one.name === name); return row ? rowLink(row) : name; };
    const number = (spread, key) => spread ? shortNumber(spread[key]) : "–";
    const rows = COHORT.data.costs.map(c => [c.stage, String(c.sessions), number(c.seconds, "median"), number(c.seconds, "largest"), link(c.seconds.name), number(c.memory, "median"), number(c.memory, "largest")]);
    const slow = COHORT.data.slowest.map(s => [link(s.name), s.seconds.toFixed(0), `${s.stage}, ${s.of_it.toFixed(0)} s`]);
    place("costs").replaceChildren(make("div", { class: "beside" },
      table([["stage"], ["sessions", "num"], ["median, s", "num"], ["longest, s", "num"], ["longest of"], ["median, MB", "num"], ["largest, MB", "num"]], rows),
      table([["session"], ["total, s", "num"], ["longest stage"]], slow, "Slowest sessions")));
    document.getElementById("costs").hidden = !rows.length;
  }

  const all = () => { unusual(); batch(); dates(); costs(); };
  COHORT.listeners.push(all);
  all();
})();
