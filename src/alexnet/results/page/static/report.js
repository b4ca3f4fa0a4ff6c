"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;
  if (!data.metrics.length) {
    $("charts").textContent = "No run has recorded a curve yet.";
    return;
  }

  // Settings survive a page that refreshes itself; a browser may forbid that for files.
  const settings = { metric: data.first, logX: false, logY: false, seeds: true, hidden: [] };
  try { Object.assign(settings, JSON.parse(sessionStorage.getItem(location.pathname) || "{}")); } catch { /* as they are */ }
  const hidden = new Set(settings.hidden);
  const remember = () => {
    settings.hidden = [...hidden];
    try { sessionStorage.setItem(location.pathname, JSON.stringify(settings)); } catch { /* forgotten */ }
  };
  if (!data.metrics.some((metric) => metric.key === settings.metric)) settings.metric = data.metrics[0].key;
  const metricNow = () => data.metrics.find((metric) => metric.key === settings.metric);

  // Values are 16-bit steps, little-endian; 65535 is none.
  function unpack(metric) {
    if (metric.curves) return metric.curves;
    metric.curves = metric.series.map(([run, grid, text]) => {
      const bytes = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
      const values = Array.from({ length: bytes.length / 2 }, (_, i) => {
        const step = bytes[2 * i] + 256 * bytes[2 * i + 1];
        const value = metric.low + metric.span * step;
        return step === 65535 ? null : metric.log ? Math.exp(value) : value;
      });
      return { run: data.runs[run], epochs: data.grids[grid], values };
    });
    return metric.curves;
  }

  // The values of a curve at all the epochs shown, linear between its own.
  function at(epochs, curve) {
    const known = curve.values.map((value, i) => [curve.epochs[i], value]).filter((point) => point[1] !== null);
    let place = 0;
    return epochs.map((epoch) => {
      while (place < known.length && known[place][0] < epoch) place++;
      if (place === known.length) return null;
      const [right, above] = known[place];
      if (right === epoch) return above;
      if (place === 0) return null;
      const [left, below] = known[place - 1];
      return below + (above - below) * (epoch - left) / (right - left);
    });
  }

  const colour = (arm) => getComputedStyle(root).getPropertyValue(`--arm${arm % 8}`).trim() || "#888";
  const token = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  // As in the figures; after eight colours each comes again with another dash.
  const look = (arm) => (arm + Math.floor(arm / 8)) % 4;
  const dash = (arm) => [[], [8, 4], [10, 4, 2, 4], [2, 3]][look(arm)];
  const digits = (value) => Math.abs(value) >= 1e5 || (value && Math.abs(value) < 1e-4) ? value.toExponential(2) : String(+value.toPrecision(4));
  const shown = (value, metric) => metric.percent ? `${(100 * value).toFixed(2)} %` : digits(value);

  let plot = null, summary = [];

  // Epochs, then for each arm its seeds, the band's ends and the mean.
  function lines() {
    const metric = metricNow();
    const curves = unpack(metric).filter((curve) => !hidden.has(curve.run.arm));
    let epochs = [...new Set(curves.flatMap((curve) => curve.epochs))].sort((a, b) => a - b);
    if (settings.logX) epochs = epochs.filter((epoch) => epoch > 0);
    const positive = (values) => settings.logY ? values.map((value) => value > 0 ? value : null) : values;
    const columns = [epochs], series = [{}], bands = [];
    summary = [];
    data.arms.forEach((arm, index) => {
      if (hidden.has(index)) return;
      const mine = curves.filter((curve) => curve.run.arm === index);
      const values = mine.map((curve) => positive(at(epochs, curve)));
      const done = values.filter((_, i) => mine[i].run.done);
      const ink = colour(index);
      const add = (column, look) => { columns.push(column); series.push({ stroke: ink, points: { show: false }, spanGaps: true, ...look }); };
      values.forEach((column, i) => {
        const isDone = mine[i].run.done;
        if ((settings.seeds && (done.length > 1 || !isDone)) || !done.length) {
          add(column, { width: isDone ? .8 : 1.2, alpha: isDone ? .4 : .8, dash: isDone ? [] : [2, 3], points: done.length ? { show: false } : {} });
        }
      });
      const rows = epochs.map((_, i) => done.map((column) => column[i]).filter((value) => value !== null));
      const low = rows.map((row) => row.length ? Math.min(...row) : null);
      const high = rows.map((row) => row.length ? Math.max(...row) : null);
      const mean = rows.map((row) => row.length && row.length === done.length ? row.reduce((a, b) => a + b, 0) / row.length : null);
      if (done.length > 1) {
        add(high.map((value, i) => mean[i] === null ? null : value), { width: 0, spanGaps: false });
        add(low.map((value, i) => mean[i] === null ? null : value), { width: 0, spanGaps: false });
        bands.push({ series: [columns.length - 2, columns.length - 1], fill: ink + "26" });
      }
      if (done.length) add(mean, { width: 2.25, dash: dash(index), points: {} });
      summary.push({ index, label: arm.label, low, high, mean, n: done.length });
    });
    return { columns, series, bands, metric };
  }

  function draw() {
    const { columns, series, bands, metric } = lines();
    if (plot) plot.destroy();
    plot = null;
    if (columns[0].length === 0) { $("plot").textContent = "All arms are hidden."; return; }
    $("plot").textContent = "";
    const width = $("plot").clientWidth || 640;
    const axis = { stroke: token("--soft"), grid: { stroke: token("--line"), width: 1 }, ticks: { stroke: token("--line") } };
    const ends = [columns[0][0], columns[0][columns[0].length - 1]];
    plot = new uPlot({
      width, height: Math.round(Math.min(440, Math.max(260, .55 * width))),
      legend: { show: false }, series, bands, cursor: { points: { show: false }, drag: { x: true, y: false } },
      scales: {
        x: { time: false, distr: settings.logX ? 3 : 1, ...(ends[0] === ends[1] ? { range: [ends[0] - 1, ends[0] + 1] } : {}) },
        y: { distr: settings.logY ? 3 : 1 },
      },
      axes: [
        { ...axis, label: "epochs", labelSize: 24, size: 36 },
        { ...axis, label: metric.printed, labelSize: 26, size: 62,
          values: (_, marks) => marks.map((mark) => mark === null ? "" : metric.percent ? `${+(100 * mark).toPrecision(4)} %` : digits(mark)) },
      ],
      hooks: { setCursor: [hover], draw: [threshold] },
    }, columns, $("plot"));
    hover(plot);
  }

  function threshold(chart) {
    if (data.threshold === null || settings.metric !== data.first) return;
    const y = chart.valToPos(data.threshold, "y", true), { left, top, width, height } = chart.bbox;
    if (y < top || y > top + height) return;
    const ctx = chart.ctx;
    ctx.save();
    ctx.strokeStyle = token("--soft"); ctx.setLineDash([6, 5]); ctx.lineWidth = devicePixelRatio;
    ctx.beginPath(); ctx.moveTo(left, y); ctx.lineTo(left + width, y); ctx.stroke();
    ctx.restore();
  }

  function hover(chart) {
    const { idx, left, top } = chart.cursor, metric = metricNow();
    let tip = $("tip");
    if (idx == null || left < 0) {
      if (tip) tip.remove();
      for (const output of document.querySelectorAll("#arms output")) output.textContent = "";
      return;
    }
    if (!tip) { tip = document.createElement("div"); tip.id = "tip"; chart.over.append(tip); }
    tip.replaceChildren(Object.assign(document.createElement("div"), { textContent: `epoch ${digits(chart.data[0][idx])}` }));
    for (const arm of summary) {
      const value = arm.mean[idx], output = document.querySelector(`#arms [data-arm="${arm.index}"] output`);
      const text = value == null ? "" : shown(value, metric);
      output.textContent = text;
      if (!text || tip.children.length > 10) continue;
      const row = document.createElement("div"), dot = document.createElement("b");
      dot.style.background = colour(arm.index);
      const range = arm.n > 1 ? ` (${shown(arm.low[idx], metric)} to ${shown(arm.high[idx], metric)})` : "";
      row.append(dot, `${arm.label}: ${text}${range}`);
      tip.append(row);
    }
    const isRight = left > chart.over.clientWidth / 2;
    tip.style.left = isRight ? "auto" : `${left + 14}px`;
    tip.style.right = isRight ? `${chart.over.clientWidth - left + 14}px` : "auto";
    tip.style.top = `${Math.min(top, Math.max(0, chart.over.clientHeight - tip.clientHeight))}px`;
  }

  for (const metric of data.metrics) $("metric").add(new Option(metric.printed, metric.key));
  $("metric").value = settings.metric;
  const redraw = () => { remember(); draw(); };
  $("metric").onchange = (event) => { settings.metric = event.target.value; redraw(); };
  for (const [id, name] of [["log-y", "logY"], ["log-x", "logX"], ["seeds", "seeds"]]) {
    $(id).checked = settings[name];
    $(id).onchange = (event) => { settings[name] = event.target.checked; redraw(); };
  }
  const buttons = data.arms.map((arm, index) => {
    const button = document.createElement("button"), swatch = document.createElement("i");
    button.type = "button"; button.dataset.arm = index;
    swatch.style.borderTopColor = `var(--arm${index % 8})`;
    swatch.style.borderTopStyle = ["solid", "dashed", "dashed", "dotted"][look(index)];
    button.append(swatch, arm.label, document.createElement("output"));
    button.onclick = () => { if (!hidden.delete(index)) hidden.add(index); press(); };
    button.ondblclick = () => {
      const isAlone = hidden.size === data.arms.length - 1 && !hidden.has(index);
      hidden.clear();
      if (!isAlone) data.arms.forEach((_, other) => { if (other !== index) hidden.add(other); });
      press();
    };
    $("arms").append(button);
    return button;
  });
  function press(isFirst) {
    buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(!hidden.has(index))));
    if (isFirst) draw(); else redraw();
  }

  press(true);
  root.dataset.ready = Math.round(performance.now());
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; draw(); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("beforeprint", () => { root.classList.add("print"); draw(); });
  addEventListener("afterprint", () => { root.classList.remove("print"); draw(); });
})();
