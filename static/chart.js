// The graph of a counter: uPlot in place of the picture that the server made. Dragging zooms, the button resets.
(() => {
  "use strict";
  const box = document.querySelector("[data-graph]");
  if (!box || !window.uPlot) return;
  const reset = document.getElementById("graph-reset");
  const picture = box.innerHTML;
  let plot = null;
  let data = null;
  let zoom = null;

  // Canvas knows no custom properties: a probe tells what colour a class has in the theme of now.
  const ink = (name) => {
    const probe = document.createElement("i");
    probe.className = `ink-${name}`;
    box.append(probe);
    const colour = getComputedStyle(probe).color;
    probe.remove();
    return colour;
  };

  const shown = (value) => {
    if (value == null) return "–";
    const size = Math.abs(value);
    if (data.unit === "bytes" || size >= 1e5) {
      return new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 4 }).format(value);
    }
    return String(Number(value.toPrecision(4)));
  };

  // All series on one axis of time; null where a series has no sample, so that gaps stay gaps.
  const table = () => {
    const at = new Set();
    for (const series of data.series) for (const [ms] of series.data) at.add(ms);
    const times = [...at].sort((a, b) => a - b);
    const place = new Map(times.map((ms, index) => [ms, index]));
    const columns = data.series.map((series) => {
      const column = new Array(times.length).fill(undefined);
      for (const [ms, value] of series.data) column[place.get(ms)] = value;
      return column;
    });
    return [times.map((ms) => ms / 1000), ...columns];
  };

  const dashed = (u, colour, dash, draw) => {
    const { ctx } = u;
    ctx.save();
    ctx.beginPath();
    ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
    ctx.clip();
    ctx.beginPath();
    ctx.strokeStyle = colour;
    ctx.lineWidth = 1.5 * devicePixelRatio;
    ctx.setLineDash(dash.map((part) => part * devicePixelRatio));
    draw(ctx);
    ctx.stroke();
    ctx.restore();
  };

  const bands = (colour) => (u) => {
    const { ctx } = u;
    ctx.save();
    ctx.beginPath();
    ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
    ctx.clip();
    ctx.fillStyle = colour;
    ctx.globalAlpha = 0.09;
    for (const [from, to] of data.breaches) {
      const left = u.valToPos(from / 1000, "x", true);
      ctx.fillRect(left, u.bbox.top, Math.max(u.valToPos(to / 1000, "x", true) - left, devicePixelRatio), u.bbox.height);
    }
    ctx.restore();
  };

  const marks = (line, run) => (u) => {
    const y = u.valToPos(data.threshold, "y", true);
    dashed(u, line, [6, 4], (ctx) => { ctx.moveTo(u.bbox.left, y); ctx.lineTo(u.bbox.left + u.bbox.width, y); });
    for (const { at } of data.runs) {
      const x = u.valToPos(at / 1000, "x", true);
      dashed(u, run, [2, 3], (ctx) => { ctx.moveTo(x, u.bbox.top); ctx.lineTo(x, u.bbox.top + u.bbox.height); });
    }
  };

  // A zoom asks the server for the finer samples of the chosen time.
  const zoomTo = (to) => {
    zoom = to;
    if (reset) reset.hidden = !to;
    load(true);
  };

  const options = () => {
    const text = ink("text");
    const axis = { stroke: text, grid: { stroke: ink("grid"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    return {
      width: box.clientWidth,
      height: 320,
      tzDate: (ts) => uPlot.tzDate(new Date(ts * 1e3), "Etc/UTC"),
      scales: {
        x: { range: () => [data.from / 1000, data.to / 1000] },
        y: { range: (u, low, high) => range(low ?? data.threshold, high ?? data.threshold) },
      },
      axes: [{ ...axis, values: timeTicks }, { ...axis, size: 70, values: (u, values) => values.map(shown) }],
      series: [
        { label: "UTC", value: (u, secs) => (secs == null ? "–" : new Date(secs * 1000).toISOString().slice(0, 19).replace("T", " ")) },
        ...data.series.map((series, index) => ({
          label: series.label,
          stroke: ink(String((index % 8) + 1)),
          width: 1.5,
          spanGaps: false,
          points: { show: lonely },
          value: (u, value) => shown(value),
        })),
      ],
      cursor: { drag: { x: true, y: false, setScale: false }, focus: { prox: 24 } },
      focus: { alpha: 0.35 },
      hooks: {
        drawClear: [bands(ink("firing"))],
        draw: [marks(ink("firing"), ink("run"))],
        setSelect: [select],
      },
    };
  };

  const select = (u) => {
    if (u.select.width < 4) return;
    const at = (left) => Math.round(u.posToVal(left, "x") * 1000);
    zoomTo({ from: at(u.select.left), to: at(u.select.left + u.select.width) });
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  };

  const timeTicks = (u, values) => values.map((secs) => {
    const text = new Date(secs * 1000).toISOString();
    return data.to - data.from <= 600000 ? text.slice(11, 19) : text.slice(11, 16);
  });

  const range = (low, high) => {
    const least = Math.min(low, data.threshold);
    const most = Math.max(high, data.threshold);
    const air = (most - least || Math.abs(most) || 1) * 0.06;
    return [least >= 0 && least < most / 2 ? 0 : least - air, most + air];
  };

  // Few samples are drawn with dots, so that one alone between two gaps can be seen.
  const lonely = (u, index) => u.data[index].filter((value) => value != null).length < 40;

  const draw = () => {
    plot?.destroy();
    box.replaceChildren();
    if (!data.series.length) {
      box.innerHTML = picture;
      return;
    }
    plot = new uPlot(options(), table(), box);
    plot.over.addEventListener("dblclick", () => zoomTo(null));
  };

  const load = async (asked) => {
    if (document.hidden || (zoom && asked !== true)) return;
    const address = new URL(box.dataset.graph, location.href);
    for (const [name, ms] of Object.entries(zoom ?? {})) address.searchParams.set(name, ms);
    const answer = await fetch(address, { credentials: "same-origin" }).catch(() => null);
    if (!answer?.ok) return;
    const before = data;
    data = await answer.json();
    const same = before && before.series.map((s) => s.label).join("\n") === data.series.map((s) => s.label).join("\n");
    if (same && plot) plot.setData(table());
    else draw();
  };

  reset?.addEventListener("click", () => zoomTo(null));
  addEventListener("resize", () => plot?.setSize({ width: box.clientWidth, height: 320 }));
  document.addEventListener("headroom:fresh", load);
  document.addEventListener("headroom:theme", () => { if (data) draw(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (data) draw(); });
  load();
})();
