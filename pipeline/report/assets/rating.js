/* Ratings that people give at the pages: kept in this browser, exported as a table that the
   pipeline reads (qc_decisions). Every page of one results folder shares them.

   VOXELWAY_RATING.all()        rows with a rating: {subject, session, stage, rating, comment, rater, date}
   VOXELWAY_RATING.tsv()        the same as a table
   VOXELWAY_RATING.merge(text)  takes the rows of a table that are newer; gives how many; throws an
                                Error with a sentence, and takes nothing, when a row can't be used
   get(subject, session, stage), set(row), download(), listen(callback), kept() */
window.VOXELWAY_RATING = (function () {
  const COLUMNS = ["subject", "session", "stage", "rating", "comment", "rater", "date"];
  const RATINGS = ["pass", "fail", "exclude", "rerun"];
  const LONGEST = 1000;
  const KEY = "voxelway-rating:" + location.pathname.replace(/[^/]*$/, "");
  const listeners = [];
  let memory = {}, works = true;

  /* One line of text that no spreadsheet runs as a formula and no reader takes for a quoted field. */
  function clean(text) {
    const line = String(text === undefined || text === null ? "" : text).replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ");
    return line.slice(0, LONGEST).replace(/^[\s=+\-@"]+/, "").trim();
  }

  function read() {
    try {
      memory = JSON.parse(localStorage.getItem(KEY) || "{}") || {};
      works = true;
    } catch (error) { works = false; }
    return memory;
  }
  function write(rows) {
    memory = rows;
    try { localStorage.setItem(KEY, JSON.stringify(rows)); works = true; } catch (error) { works = false; }
    listeners.forEach(tell => tell());
  }
  const place = row => [row.subject, row.session, row.stage].join("/");

  function get(subject, session, stage) { return read()[place({ subject, session, stage })] || null; }
  /* An empty rating with a comment is a draft: it is kept and not exported. */
  function set(row) {
    const rows = { ...read() }, next = {};
    for (const name of COLUMNS) next[name] = clean(row[name]);
    next.date = new Date().toISOString().slice(0, 19) + "Z";
    if (next.rating && !RATINGS.includes(next.rating)) throw new Error("Not a rating: " + next.rating);
    if (next.rating || next.comment) rows[place(next)] = next; else delete rows[place(next)];
    write(rows);
  }
  function all() {
    const rows = Object.values(read()).filter(row => RATINGS.includes(row.rating));
    return rows.sort((a, b) => (place(a) < place(b) ? -1 : 1));
  }
  function tsv() {
    const lines = all().map(row => COLUMNS.map(name => clean(row[name])).join("\t"));
    return [COLUMNS.join("\t"), ...lines].join("\n") + "\n";
  }

  function unquoted(field) {
    return /^".*"$/.test(field) ? field.slice(1, -1).replace(/""/g, '"') : field;
  }
  function checked(row, line) {
    const label = /^[0-9A-Za-z]+$/;
    const wrong = !label.test(row.subject) ? "subject" : !label.test(row.session) ? "session"
      : !/^[a-z]*$/.test(row.stage) ? "stage" : !RATINGS.includes(row.rating) ? "rating" : "";
    if (wrong) throw new Error(`Line ${line}: the ${wrong} “${row[wrong]}” is not known.`);
    return row;
  }
  function parse(text) {
    const lines = text.replace(/^\ufeff/, "").split(/\r\n|\n|\r/);
    const head = lines[0].split("\t").map(unquoted);
    const lacks = COLUMNS.filter(name => !head.includes(name));
    if (lacks.length) throw new Error("This is no table of ratings: it lacks " + lacks.join(", ") + ".");
    return lines.slice(1).map((line, i) => {
      if (!line.trim()) return null;
      const fields = line.split("\t").map(unquoted), row = {};
      for (const name of COLUMNS) row[name] = clean(fields[head.indexOf(name)]);
      row.subject = row.subject.replace(/^sub-/, "");
      row.session = row.session.replace(/^ses-/, "");
      return checked(row, i + 2);
    }).filter(Boolean);
  }
  function merge(text) {
    const rows = { ...read() };
    let taken = 0;
    for (const row of parse(text)) {
      const known = rows[place(row)];
      if (known && known.rating && known.date >= row.date) continue;
      rows[place(row)] = row;
      taken++;
    }
    if (taken) write(rows);
    return taken;
  }

  function download() {
    const link = document.createElement("a");
    const address = URL.createObjectURL(new Blob([tsv()], { type: "text/tab-separated-values" }));
    link.href = address;
    link.download = "qc_decisions.tsv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }
  addEventListener("storage", event => { if (event.key === KEY) listeners.forEach(tell => tell()); });
  return {
    all, tsv, merge, get, set, download,
    listen: tell => { listeners.push(tell); },
    kept: () => { read(); return works; },
  };
})();
