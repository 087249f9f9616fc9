/* The rating form of a subject page: one row a stage, one for the subject, export and import. */
(function () {
  const store = window.VOXELWAY_RATING;
  const { subject, session } = document.body.dataset;
  const rows = [...document.querySelectorAll(".rating[data-stage]")];
  const rater = document.getElementById("rater"), tally = document.getElementById("rated");
  const told = document.getElementById("rating-said");
  const chosen = row => { const on = row.querySelector("[aria-pressed=true]"); return on ? on.dataset.rating : ""; };

  function save(row) {
    store.set({
      subject, session, stage: row.dataset.stage, rating: chosen(row),
      comment: row.querySelector(".comment").value, rater: rater.value,
    });
  }
  function fill() {
    for (const row of rows) {
      const kept = store.get(subject, session, row.dataset.stage);
      row.querySelectorAll("[data-rating]").forEach(button => button.setAttribute("aria-pressed", String(Boolean(kept) && kept.rating === button.dataset.rating)));
      const comment = row.querySelector(".comment");
      if (document.activeElement !== comment) comment.value = kept ? kept.comment : "";
      row.classList.toggle("rated", Boolean(kept && kept.rating));
      row.querySelector(".draft").hidden = !(kept && kept.comment && !kept.rating);
    }
    const all = store.all(), here = all.filter(one => one.subject === subject && one.session === session);
    tally.textContent = `${here.length} rating${here.length === 1 ? "" : "s"} of this session, ${all.length} of this results folder in this browser`
      + (store.kept() ? "." : ". This browser keeps nothing: export before you close the page.");
  }
  for (const row of rows) {
    row.addEventListener("click", event => {
      const button = event.target.closest("[data-rating]");
      if (!button) return;
      const was = button.getAttribute("aria-pressed") === "true";
      row.querySelectorAll("[data-rating]").forEach(one => one.setAttribute("aria-pressed", "false"));
      button.setAttribute("aria-pressed", String(!was));
      save(row);
    });
    row.querySelector(".comment").addEventListener("change", () => save(row));
  }
  rater.value = (store.all().sort((a, b) => (a.date < b.date ? 1 : -1))[0] || { rater: "" }).rater;
  document.getElementById("rating-export").addEventListener("click", store.download);
  document.getElementById("rating-import").addEventListener("change", async event => {
    const texts = [];
    for (const file of event.target.files) {
      try { texts.push(`${file.name}: ${store.merge(await file.text())} taken.`); } catch (error) { texts.push(`${file.name}: ${error.message} Nothing was taken.`); }
    }
    told.textContent = texts.join(" ");
    event.target.value = "";
    fill();
  });
  document.addEventListener("keydown", event => {
    if (typing(event) || event.key.toLowerCase() !== "r") return;
    const row = document.querySelector("#rating .rating");
    row.scrollIntoView({ block: "center" });
    row.querySelector("button").focus();
  });
  store.listen(fill);
  fill();
})();
