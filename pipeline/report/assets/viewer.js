/* The interactive viewer: three linked planes of the volumes that the page carries (NiiVue). */
(function () {
  const panel = document.getElementById("viewer");
  if (!panel) return;
  const data = JSON.parse(document.getElementById("volumes").textContent);
  const byKey = new Map(data.volumes.map(volume => [volume.key, volume]));
  const view = panel.querySelector(".view"), canvas = panel.querySelector("canvas");
  const said = panel.querySelector(".said"), slider = panel.querySelector("[name=opacity]");
  const outline = panel.querySelector("[data-outline]");
  const state = { base: data.volumes[0].key, layer: "" };
  const loaded = new Map();
  let program = null, viewer = null;

  /* Okabe and Ito's labels come with the data; amounts in cividis, changes blue to red, both
     clear where there is nothing to see. */
  const AMOUNT = { I: [0, 32, 96, 160, 208, 255], R: [0, 18, 75, 138, 195, 255], G: [32, 53, 84, 134, 179, 234], B: [76, 112, 110, 120, 105, 70], A: [0, 110, 200, 255, 255, 255] };
  const CHANGE = { I: [0, 48, 92, 120, 136, 164, 208, 255], R: [8, 33, 103, 209, 253, 239, 178, 103], G: [48, 102, 169, 229, 219, 138, 24, 0], B: [107, 172, 207, 240, 199, 98, 43, 31], A: [255, 255, 200, 0, 0, 200, 255, 255] };
  const COLORS = { image: "gray", amount: "amount", change: "change", labels: "gray" };

  function tell(text) { said.textContent = text; }
  function webgl() {
    const probe = document.createElement("canvas").getContext("webgl2");
    if (probe) { const lose = probe.getExtension("WEBGL_lose_context"); if (lose) lose.loseContext(); }
    return Boolean(probe);
  }
  function fetched() {
    if (!program) program = new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = panel.dataset.program;
      script.onload = () => resolve(window.niivue);
      script.onerror = () => reject(new Error(`The viewer needs the file ${panel.dataset.program} beside this page, and it is not there.`));
      document.head.append(script);
    });
    return program;
  }

  async function volume(key) {
    if (!loaded.has(key)) {
      const told = byKey.get(key);
      const image = await window.niivue.NVImage.loadFromBase64({
        base64: told.data, name: key + ".nii.gz", colormap: COLORS[told.kind],
        cal_min: told.low, cal_max: told.high, opacity: 1, colorbarVisible: false,
      });
      if (told.kind === "labels") image.setColormapLabel(table(told.labels));
      loaded.set(key, image);
    }
    return loaded.get(key);
  }
  /* every index up to the largest, so that a value is its own place in the table */
  function table(labels) {
    const found = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: ["–"] };
    const last = Math.max(...labels.map(label => label.index));
    for (let index = 1; index <= last; index++) {
      const label = labels.find(one => one.index === index);
      const [r, g, b] = label ? label.color : [0, 0, 0];
      found.R.push(r); found.G.push(g); found.B.push(b);
      found.A.push(label ? 255 : 0); found.I.push(index); found.labels.push(label ? label.name : "–");
    }
    return found;
  }

  async function open() {
    if (viewer) return viewer;
    if (!webgl()) throw new Error("This browser has no WebGL 2, which the viewer needs. The pictures below show the same images.");
    tell("Opening …");
    const niivue = await fetched();
    panel.querySelector(".closed").hidden = true;
    view.hidden = false;
    const made = new niivue.Niivue({
      sliceType: niivue.SLICE_TYPE.MULTIPLANAR, isRadiologicalConvention: true, sagittalNoseLeft: true, isCornerOrientationText: false,
      backColor: [0, 0, 0, 1], crosshairColor: [0.94, 0.89, 0.26, 0.9], crosshairWidth: 0.3, crosshairGap: 6, fontColor: [0.9, 0.9, 0.9, 1],
      multiplanarShowRender: niivue.SHOW_RENDER.NEVER, multiplanarForceRender: false, isColorbar: false,
      dragAndDropEnabled: false, loadingText: "", logLevel: "error", viewModeHotKey: "", clipPlaneHotKey: "",
      multiplanarLayout: niivue.MULTIPLANAR_TYPE.ROW, multiplanarEqualSize: false, fontSizeScaling: 0.4, textHeight: 0.05,
    });
    made.keyDownListener = () => {};
    made.keyUpListener = () => {};
    made.addColormap("amount", AMOUNT);
    made.addColormap("change", CHANGE);
    made.onLocationChange = where;
    await made.attachToCanvas(canvas, true);
    viewer = made;
    return viewer;
  }

  /* what lies under the cross-hair, in words */
  function where(location) {
    const [x, y, z] = location.mm;
    const side = (value, plus, minus) => `${value < 0 ? minus : plus} ${Math.abs(value).toFixed(0)}`;
    const parts = [`${side(x, "R", "L")}  ${side(y, "A", "P")}  ${side(z, "S", "I")} mm`];
    for (const key of [state.base, state.layer].filter(Boolean)) {
      const told = byKey.get(key), image = loaded.get(key);
      if (!image) continue;
      const vox = image.mm2vox([x, y, z]);
      const value = image.getValue(vox[0], vox[1], vox[2], 0);
      const label = told.labels.find(one => one.index === Math.round(value));
      const text = told.kind === "labels" ? (label ? label.name : "none") : told.kind === "change" ? `× ${(2 ** value).toFixed(2)}` : value.toPrecision(3);
      parts.push(`${told.name}: ${text}`);
    }
    tell(parts.join("   "));
  }

  function press(selector, chosen) {
    panel.querySelectorAll(selector).forEach(button => {
      button.setAttribute("aria-pressed", String((button.dataset.show || button.dataset.over || "") === chosen));
    });
  }
  async function show() {
    const keys = [state.base, state.layer].filter(Boolean);
    const volumes = await Promise.all(keys.map(volume));
    if (keys[0] !== state.base || (keys[1] || "") !== state.layer) return;
    const told = byKey.get(state.layer), amount = Number(slider.value);
    const lined = told && told.kind === "labels" && outline.getAttribute("aria-pressed") === "true";
    volumes.forEach((image, i) => { image.opacity = !i ? 1 : lined ? 0.001 : amount; });
    viewer.volumes = volumes;
    viewer.back = volumes[0];
    viewer.overlays = volumes.slice(1);
    viewer.opts.atlasOutline = lined ? amount : 0;
    viewer.updateGLVolume();
    viewer.createOnLocationChange();
    press("[data-show]", state.base);
    press("[data-over]", state.layer);
    legend(told);
    panel.dataset.shown = keys.join(" ");
  }
  function legend(told) {
    const list = panel.querySelector(".legend");
    list.replaceChildren();
    const entries = !told ? [] : told.kind === "labels" ? told.labels.map(label => [`rgb(${label.color.join(",")})`, label.name])
      : told.kind === "amount" ? [["#FFEA46", `high, ${shortNumber(told.high)} and above`], ["#4B546E", "low"]]
        : told.kind === "change" ? [["#2166AC", "smaller than the template"], ["#B2182B", "larger than the template"]] : [];
    for (const [color, text] of entries) {
      const item = document.createElement("li"), swatch = document.createElement("i");
      swatch.className = "swatch";
      swatch.style.background = color;
      item.append(swatch, text);
      list.append(item);
    }
    slider.disabled = !told;
    outline.hidden = !told || told.kind !== "labels";
  }

  function aim(mm) {
    viewer.scene.crosshairPos = viewer.mm2frac(mm);
    viewer.drawScene();
    viewer.createOnLocationChange();
  }
  async function jump(key) {
    const place = data.places.find(one => one.key === key);
    if (!place) return;
    await open();
    if (byKey.has(place.base)) state.base = place.base;
    state.layer = byKey.has(place.layer) ? place.layer : "";
    await show();
    aim(place.mm);
    panel.dataset.place = key;
  }
  function step(axis, amount) {
    const mm = viewer.frac2mm(viewer.scene.crosshairPos);
    const next = [mm[0], mm[1], mm[2]];
    next[axis] += amount;
    const frac = viewer.mm2frac(next);
    if ([0, 1, 2].every(i => frac[i] >= 0 && frac[i] <= 1)) aim(next);
  }
  const safely = work => Promise.resolve().then(work).catch(error => {
    tell(error.message);
    panel.querySelector(".closed").hidden = Boolean(viewer);
  });

  panel.addEventListener("click", event => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.show !== undefined) { state.base = button.dataset.show; safely(show); }
    else if (button.dataset.over !== undefined) { state.layer = button.dataset.over; safely(show); }
    else if (button.dataset.outline !== undefined) { button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true")); safely(show); }
    else if (button.dataset.jump !== undefined) safely(() => jump(button.dataset.jump));
  });
  slider.addEventListener("input", () => safely(show));
  /* a reason of the verdict leads to its place */
  document.querySelectorAll(".reasons [data-jump]").forEach(button => button.addEventListener("click", () => {
    panel.scrollIntoView({ block: "start" });
    safely(() => jump(button.dataset.jump));
  }));
  const KEYS = { ArrowLeft: [0, 2], ArrowRight: [0, -2], ArrowUp: [1, 2], ArrowDown: [1, -2], PageUp: [2, 2], PageDown: [2, -2] };
  canvas.addEventListener("keydown", event => {
    const move = KEYS[event.key];
    if (!move || !viewer || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    step(move[0], event.shiftKey ? 5 * move[1] : move[1]);
  });
  document.addEventListener("keydown", event => {
    if (typing(event) || event.key.toLowerCase() !== "v") return;
    panel.scrollIntoView({ block: "start" });
    safely(() => jump(data.places[0].key)).then(() => canvas.focus());
  });
})();
