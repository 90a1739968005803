// Draws the time lines of a PACT report with uPlot. Without scripts the tables hold the figures.
(() => {
  "use strict";
  const TICK_S = 1e-5, NO_WATTS = -(2 ** 31), NO_CODE = 65535, LEAST_S = 1e-3, COLOURS = 8;
  const data = JSON.parse(document.getElementById("pact-data").textContent);
  const home = document.getElementById("plots");
  const note = document.getElementById("plots-note");
  const whole = { from: 0, to: data.end_s || 1 };
  const view = { ...whole };
  const charts = [];
  let shared = null; // the counters share one axis

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const make = (tag, more = {}, ...inside) => {
    const element = Object.assign(document.createElement(tag), more);
    element.append(...inside);
    return element;
  };

  // base64 -> zlib -> byte planes -> numbers; a plain loop is ten times as fast as Uint8Array.from
  async function unpack(text, Type) {
    const raw = atob(text), bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const planes = new Uint8Array(await new Response(stream).arrayBuffer());
    const size = Type.BYTES_PER_ELEMENT, count = planes.length / size;
    const mixed = new Uint8Array(planes.length);
    for (let p = 0; p < size; p++)
      for (let i = 0, from = p * count; i < count; i++) mixed[i * size + p] = planes[from + i];
    return new Type(mixed.buffer);
  }

  // Places (one more at each pause, so that the line breaks), middles and lengths of the stretches.
  async function unpackAxis(axis) {
    const lengths = await unpack(axis.lengths, Uint32Array);
    const count = lengths.length, extra = axis.anew.length - 1;
    const x = new Float64Array(count + extra), breaks = [];
    let at = 0, next = 0, out = 0;
    for (let i = 0; i < count; i++) {
      if (next < axis.anew.length && axis.anew[next][0] === i) {
        if (next > 0) { breaks.push(out); x[out++] = at * TICK_S; }
        at = Math.round(axis.anew[next][1] / TICK_S);
        next++;
      }
      x[out++] = (at + lengths[i] / 2) * TICK_S;
      at += lengths[i];
    }
    return { x, lengths, breaks };
  }

  const decode = (code) => (code < 1024 ? code : ((code & 1023) | 1024) * 2 ** ((code >> 10) - 1));

  async function unpackLine(text, form, axis) {
    const steps = await unpack(text, form === "W" ? Int32Array : Uint16Array);
    const { x, lengths, breaks } = axis, none = form === "W" ? NO_WATTS : NO_CODE;
    // gaps are nulls, for which a typed array has no room
    let y = breaks.length || steps.includes(none) ? new Array(x.length) : new Float64Array(x.length);
    for (let i = 0, out = 0, next = 0; i < steps.length; i++, out++) {
      if (next < breaks.length && breaks[next] === out) { y[out++] = null; next++; }
      const step = steps[i];
      if (step === none) y[out] = null;
      else if (form === "W") y[out] = step / 100;
      else if (form === "rate") y[out] = decode(step) / 1000;
      else y[out] = lengths[i] ? decode(step) / (lengths[i] * TICK_S) : 0;
    }
    return y;
  }

  // Where a value stands alone between gaps there is no line: these places are drawn as points.
  function aloneIn(y) {
    const alone = [];
    if (Array.isArray(y) || y.length === 1)
      for (let i = 0; i < y.length; i++) if (y[i] != null && y[i - 1] == null && y[i + 1] == null) alone.push(i);
    return alone;
  }
  const firstFrom = (places, x, value) => {
    let low = 0, high = places.length;
    while (low < high) { const k = (low + high) >> 1; if (x[places[k]] < value) low = k + 1; else high = k; }
    return low;
  };
  // Of those in view; where they stand closer than pixels, the lowest and the highest of each pixel.
  function points(places, colour) {
    if (!places.length) return { show: false };
    const filter = (u, k) => {
      const x = u.data[0], y = u.data[k];
      const from = firstFrom(places, x, view.from), to = firstFrom(places, x, view.to + TICK_S);
      if (to - from < 2 * u.over.clientWidth) return places.slice(from, to);
      const kept = [], pixelS = (view.to - view.from) / u.over.clientWidth;
      for (let i = from, low, high, end = -Infinity; i < to; i++) {
        const at = places[i];
        if (x[at] > end) { if (i > from) kept.push(low, high); low = high = at; end = x[at] + pixelS; }
        else if (y[at] < y[low]) low = at;
        else if (y[at] > y[high]) high = at;
        if (i === to - 1) kept.push(low, high);
      }
      return kept;
    };
    return { show: false, filter, size: 5, fill: colour };
  }

  const short = (value) => {
    const size = Math.abs(value);
    for (const [unit, of] of [["G", 1e9], ["M", 1e6], ["k", 1e3]])
      if (size >= of) return `${+(value / of).toPrecision(4)} ${unit}`;
    return `${+value.toPrecision(4)} `;
  };
  const seconds = (value) => `${+value.toFixed(value < 100 ? 3 : 1)} s`;

  function show(from, to) {
    const span = Math.min(Math.max(to - from, LEAST_S), whole.to - whole.from);
    from = Math.min(Math.max(from, whole.from), whole.to - span);
    view.from = from;
    view.to = from + span;
    for (const chart of charts) chart.setScale("x", { min: view.from, max: view.to });
    const all = span >= whole.to - whole.from;
    document.getElementById("plots-view").value =
      (all ? "all: " : "") + `${seconds(view.from)} to ${seconds(view.to)}`;
  }
  const zoom = (factor) => {
    const middle = (view.from + view.to) / 2, half = ((view.to - view.from) * factor) / 2;
    show(middle - half, middle + half);
  };
  const move = (share) => {
    const by = (view.to - view.from) * share;
    if (by < 0) show(Math.max(view.from + by, whole.from), Math.max(view.to + by, whole.from + view.to - view.from));
    else show(view.from + by, view.to + by);
  };
  const acts = {
    "ArrowLeft": () => move(-0.25), "ArrowRight": () => move(0.25),
    "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), "0": () => show(whole.from, whole.to),
  };

  let following = false;
  function follow(chart) {
    if (following) return;
    following = true;
    const { left } = chart.cursor;
    for (const other of charts) if (other !== chart) other.setCursor({ left, top: left < 0 ? -10 : 5 });
    for (const other of charts) other.told?.(left < 0 ? null : other.posToIdx(left));
    document.getElementById("plots-at").value = left < 0 ? "" : `at ${seconds(chart.posToVal(left, "x"))}`;
    following = false;
  }

  function options(height, ys, more) {
    const axis = { stroke: () => css("--soft"), grid: { stroke: () => css("--line"), width: 1 }, ticks: { stroke: () => css("--line"), width: 1 }, font: "12px system-ui, sans-serif" };
    return {
      width: home.clientWidth, height, legend: { show: false }, pxAlign: 1,
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
      scales: { x: { time: false, range: () => [view.from, view.to] }, y: { range: ys } },
      axes: [{ ...axis, size: 34, space: 80, values: (u, at) => at.map((v) => `${+v.toFixed(6)} s`) }, { ...axis, size: 110, ...more.axis }],
      series: more.series, bands: more.bands || [],
      hooks: {
        setCursor: [follow],
        setSelect: [(u) => {
          if (u.select.width < 4) return;
          const from = u.posToVal(u.select.left, "x"), to = u.posToVal(u.select.left + u.select.width, "x");
          u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
          show(from, to);
        }],
        ...more.hooks,
      },
    };
  }

  function place(chart, box) {
    charts.push(chart);
    chart.over.addEventListener("dblclick", () => show(whole.from, whole.to));
    box.addEventListener("keydown", (event) => {
      const act = event.target === box && !event.ctrlKey && !event.metaKey && !event.altKey && acts[event.key];
      if (act) { act(); event.preventDefault(); }
    });
  }

  const boxFor = (label) => {
    const box = make("div", { className: "plot", tabIndex: 0 });
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", `${label}. Arrow keys move, plus and minus zoom, 0 shows all. The tables hold the figures.`);
    return box;
  };

  const padded = (u, low, high) => {
    if (!Number.isFinite(low)) return [0, 1]; // null where nothing of it is known
    if (low >= 0 && low < 0.4 * high) low = 0;
    const room = (high - low) * 0.06 || Math.abs(high) * 0.05 || 1;
    return [low === 0 ? 0 : low - room, high + room];
  };

  async function drawPanel(panel) {
    const axis = panel.axis ? await unpackAxis(panel.axis) : shared;
    if (panel.unit !== "W") shared = axis;
    const columns = [axis.x], series = [{}], bands = [], keys = make("fieldset", { className: "keys" });
    const told = [], unit = panel.unit === "1/s" ? "/s" : panel.unit;
    for (const [k, line] of panel.lines.entries()) {
      const colour = () => css(`--s${(panel.unit === "W" ? k : 0) % COLOURS}`);
      const dashed = line.origin && line.origin !== "measured";
      const own = [columns.length];
      const mean = await unpackLine(line.mean, panel.form, axis);
      columns.push(mean);
      // colours come again after eight lines, in thicker ones
      const again = panel.unit === "W" ? Math.floor(k / COLOURS) : 0;
      series.push({ stroke: colour, width: 1.25 + 1.25 * again, dash: dashed ? [6, 4] : undefined, points: points(aloneIn(mean), colour) });
      if (line.low) {
        own.push(columns.length, columns.length + 1);
        bands.push({ series: [columns.length + 1, columns.length], fill: () => `${colour()}55` });
        for (const part of [line.low, line.high]) {
          columns.push(await unpackLine(part, panel.form, axis));
          series.push({ stroke: "transparent", width: 0, points: { show: false } });
        }
      }
      const swatch = make("span", { className: dashed ? "swatch dashed" : "swatch" });
      swatch.style.color = `var(--s${(panel.unit === "W" ? k : 0) % COLOURS})`;
      swatch.style.borderTopWidth = `${3 + 3 * again}px`;
      const box = make("input", { type: "checkbox", checked: true });
      const marks = [dashed && line.origin, line.synthetic].filter(Boolean).join(", ");
      const name = make("bdi", { textContent: line.name, title: line.label });
      const value = make("output");
      value.setAttribute("aria-live", "off"); // changes with every move of the pointer
      keys.append(make("label", {}, box, swatch, name, marks ? ` (${marks})` : "", value));
      told.push((at) => {
        const y = at == null ? null : columns[own[0]][at];
        value.value = y == null ? "" : `${short(y)}${unit}`;
      });
      box.addEventListener("change", () => own.forEach((s) => chart.setSeries(s, { show: box.checked })));
    }
    keys.prepend(make("legend", { className: "soft", textContent: `${panel.title} (${panel.unit})${panel.form === "rate" || panel.lines[0]?.low ? ": mean, and a band from the smallest to the largest" : ""}` }));
    const box = boxFor(`${panel.title} over time, in ${panel.unit}`);
    home.append(keys, box);
    const chart = new uPlot(
      options(panel.unit === "W" ? 280 : 150, padded, { series, bands, axis: { values: (u, at) => at.map((v) => `${short(v)}${unit}`) } }),
      columns, box);
    chart.told = (at) => told.forEach((tell) => tell(at));
    place(chart, box);
  }

  function drawRegions() {
    const { names, spans, left_out: left, joined_s: joined } = data.regions;
    if (!names.length) return;
    const rowsHigh = names.length, box = boxFor("Calls and regions over time");
    let title = "Calls and regions";
    if (left) title += `, the first ${rowsHigh} names of ${rowsHigh + left}`;
    if (joined) title += `; those less than ${seconds(joined)} apart are drawn as one`;
    home.append(make("p", { className: "soft", textContent: title }), box);
    const paint = (u) => {
      const { ctx, bbox } = u, high = bbox.height / rowsHigh, scale = bbox.width / (view.to - view.from);
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      const colours = names.map((_, lane) => css(`--s${lane % COLOURS}`));
      for (const [lane, from, to] of spans) {
        if (to < view.from || from > view.to) continue;
        ctx.fillStyle = colours[lane];
        const left = bbox.left + (from - view.from) * scale, wide = (to - from) * scale;
        ctx.fillRect(left, bbox.top + lane * high + high * 0.18, Math.max(1, wide > 3 ? wide - 1 : wide), high * 0.64);
      }
      ctx.restore();
    };
    const cut = (name) => {
      const letters = [...(name.replace(/\s+/g, " ").trim() || "(no name)")];
      return letters.length > 13 ? `${letters.slice(0, 12).join("")}…` : letters.join("");
    };
    const chart = new uPlot(
      options(60 + 22 * rowsHigh, () => [0, rowsHigh], {
        series: [{}, { points: { show: false } }], hooks: { draw: [paint] },
        axis: { splits: () => names.map((_, lane) => rowsHigh - lane - 0.5), values: () => names.map(cut), grid: { show: false } },
      }),
      [[whole.from, whole.to], [null, null]], box);
    place(chart, box);
  }

  function tools() {
    const buttons = [["Zoom in", "+"], ["Zoom out", "-"], ["Earlier", "ArrowLeft"], ["Later", "ArrowRight"], ["Show all", "0"]];
    const bar = make("div", { className: "tools" });
    bar.setAttribute("role", "group");
    bar.setAttribute("aria-label", "time shown");
    for (const [name, key] of buttons) {
      const button = make("button", { type: "button", textContent: name });
      button.addEventListener("click", acts[key]);
      bar.append(button);
    }
    const shown = make("output", { id: "plots-view" });
    shown.setAttribute("aria-live", "polite");
    const at = make("output", { id: "plots-at" });
    at.setAttribute("aria-live", "off"); // as the values
    bar.append(shown, at);
    home.append(bar);
  }

  const widen = (width) => charts.forEach((chart) => chart.setSize({ width, height: chart.height }));
  const repaint = () => charts.forEach((chart) => chart.redraw(true));
  const frame = () => new Promise((done) => {
    requestAnimationFrame(() => setTimeout(done)); // the frame before is on the screen
  });

  async function main() {
    if (!data.end_s || (!data.panels.length && !data.regions.names.length)) { note.textContent = "There is nothing to draw: neither power nor counters were recorded."; return; }
    if (!("DecompressionStream" in window)) { note.textContent = "This browser is too old for the plots; the tables hold the figures."; return; }
    note.textContent = "Drag over a plot to zoom in, double-click to see all; plots move together.";
    tools();
    const panels = [...data.panels];
    if (panels[0]?.unit === "W") await drawPanel(panels.shift());
    drawRegions();
    show(view.from, view.to);
    await frame();
    performance.mark("pact-first-plot");
    for (const panel of panels) { await drawPanel(panel); await frame(); }
    show(view.from, view.to);
    performance.mark("pact-all-plots");
    document.documentElement.dataset.plots = "done";
    new ResizeObserver(() => { if (home.clientWidth !== charts[0]?.width) widen(home.clientWidth); }).observe(home);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  }

  addEventListener("beforeprint", () => {
    document.documentElement.dataset.print = "";
    document.querySelectorAll("details").forEach((part) => { part.open = true; });
    widen(680);
    repaint();
  });
  addEventListener("afterprint", () => {
    delete document.documentElement.dataset.print;
    widen(home.clientWidth);
    repaint();
  });
  main().catch((error) => {
    note.textContent = `The plots could not be drawn (${error.message}); the tables hold the figures.`;
    throw error;
  });
})();
