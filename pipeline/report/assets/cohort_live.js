/* Ratings out and in, and new data while a run goes on. */
(function () {
  /* ratings */
  const said = document.getElementById("ratings-said"), out = document.getElementById("ratings-out");
  const known = () => { const n = VOXELWAY_RATING.all().length; out.disabled = !n; out.textContent = n ? `export ${count(n, "rating")}` : "export ratings"; };
  out.addEventListener("click", () => VOXELWAY_RATING.download());
  document.getElementById("ratings-in").addEventListener("change", async event => {
    const [file] = event.target.files;
    if (!file) return;
    try {
      said.textContent = `${count(VOXELWAY_RATING.merge(await file.text()), "rating")} taken`;
    } catch (error) {
      said.textContent = error.message;
    }
    event.target.value = "";
  });
  VOXELWAY_RATING.listen(known);
  known();

  /* A small file tells whether there is more; only then the data are loaded. A page that was taken
     away from its folder finds no such file and stays as it is. */
  const EVERY = 30000;
  const place = document.getElementById("live"), text = place.querySelector("span"), button = place.querySelector("button");
  let paused = false, timer = 0;
  function load(name, then) {
    const script = document.createElement("script");
    script.src = `${name}?${Date.now()}`;
    script.onload = () => { script.remove(); then(true); };
    script.onerror = () => { script.remove(); then(false); };
    document.head.append(script);
  }
  function tell(changed) {
    place.hidden = !COHORT.data.running && !changed;
    text.textContent = (COHORT.data.running ? "Some sessions are not done yet; this page follows." : "") + (changed ? ` New data at ${new Date().toTimeString().slice(0, 5)}.` : "");
  }
  function take(found) {
    const live = window.VOXELWAY_LIVE;
    window.VOXELWAY_LIVE = undefined;
    if (found && live && live.data.stamp !== COHORT.data.stamp) {
      Object.assign(COHORT.thumbnails, live.thumbnails);
      COHORT.replace(live.data);
      tell(true);
    }
    later();
  }
  function look() {
    if (paused || document.hidden) { later(); return; }
    load("cohort-stamp.js", found => {
      const stamp = found && window.VOXELWAY_STAMP;
      if (!stamp) return;
      if (stamp.stamp !== COHORT.data.stamp) load("cohort-live.js", take); else later();
    });
  }
  function later() { clearTimeout(timer); timer = setTimeout(look, EVERY); }
  button.addEventListener("click", () => {
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
    button.textContent = paused ? "go on with updates" : "pause updates";
    if (!paused) look();
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  tell(false);
  setTimeout(look, 1000);
})();
