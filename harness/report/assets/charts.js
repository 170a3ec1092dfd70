"use strict";
// The charts, on uPlot: latency of each operation, quantiles, and rate. They share the timeline's range.
function Charts(data, style, timeline) {
  const all = [];
  const x = data.series.ok.map((_, i) => (i + .5) * data.series.w / 1e6);
  const end = data.end / 1e6;

  function options(element, height, scales, series, axes, hooks) {
    return {
      width: element.clientWidth, height, legend: { show: false }, padding: [8, 4, 0, 0],
      cursor: { drag: { x: true, y: false, setScale: false }, points: { show: false } },
      scales: Object.assign({ x: { time: false, range: (u, a, b) => [a, b] } }, scales),
      series: [{}].concat(series),
      axes: [Object.assign(axis(), { size: 28, values: (u, v) => v.map(s => s.toFixed(digitsOf(v)) + " s") })].concat(axes),
      hooks: Object.assign({ drawClear: [shade], setSelect: [selected] }, hooks || {}),
    };
  }

  function axis() {
    return { stroke: () => style("--faint"), font: "11px " + style("--sans"), grid: { stroke: () => style("--line"), width: 1 }, ticks: { show: false }, gap: 4 };
  }

  function shade(u) {
    const g = u.ctx;
    g.save();
    g.fillStyle = style("--fault-wash");
    for (const f of data.faults) {
      const a = Math.max(u.valToPos(f.f / 1e6, "x", true), u.bbox.left), b = Math.min(u.valToPos(f.t / 1e6, "x", true), u.bbox.left + u.bbox.width);
      if (b > a) g.fillRect(a, u.bbox.top, b - a, u.bbox.height);
    }
    g.restore();
  }

  function selected(u) {
    if (u.select.width < 4) return;
    timeline.set(u.posToVal(u.select.left, "x") * 1e6, u.posToVal(u.select.left + u.select.width, "x") * 1e6);
    u.setSelect({ width: 0, height: 0 }, false);
  }

  function add(id, height, make) {
    const element = document.getElementById(id);
    if (!element) return;
    const u = make(element, height);
    all.push({ u, element, height });
    u.setScale("x", { min: 0, max: end });
  }

  const ms = v => v >= 1000 ? v / 1000 + " s" : v + " ms";
  // Lines at powers of ten alone, every second or third where they would be crowded.
  const decades = (u, i, min, max) => {
    const lo = Math.ceil(Math.log10(min) - 1e-9), hi = Math.floor(Math.log10(max) + 1e-9), every = Math.ceil((hi - lo) * 26 / (u.bbox.height / devicePixelRatio));
    const at = [];
    for (let e = lo; e <= hi; e += Math.max(every, 1)) at.push(10 ** e);
    return at;
  };
  const logAxis = () => Object.assign(axis(), { size: 54, splits: decades, filter: (u, at) => at, values: (u, v) => v.map(n => ms(+n.toPrecision(1))) });
  const line = (color, width) => ({ stroke: () => style(color), width: width || 1.5, points: { show: false }, spanGaps: false });
  const gaps = v => v.map(n => n < 0 ? null : Math.max(n, .01));

  add("scatter", 250, (element, height) => {
    const o = data.ops, times = [], took = [];
    const order = Array.from(o.s.keys()).sort((a, b) => o.s[a] + o.d[a] - o.s[b] - o.d[b]);
    for (const i of order) { times.push((o.s[i] + o.d[i]) / 1e6); took.push(Math.max(o.d[i] / 1000, .01)); }
    // Points are drawn by hand: one square a pixel, however many operations fall on it.
    const paths = u => {
      const g = u.ctx, size = Math.round((order.length > 3000 ? 2 : 4) * devicePixelRatio), seen = new Set();
      g.save();
      g.beginPath(); g.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height); g.clip();
      for (const pass of [0, 1, 2]) {
        g.fillStyle = style(["--point", "--op-fail", "--op-info"][pass]);
        for (let n = 0; n < order.length; n++) {
          const outcome = Math.min(2, o.o[order[n]]);
          if (outcome !== pass || times[n] < u.scales.x.min || times[n] > u.scales.x.max) continue;
          const px = Math.round(u.valToPos(times[n], "x", true)), py = Math.round(u.valToPos(took[n], "y", true));
          const key = (px * 8192 + py) * 3 + pass;
          if (seen.has(key)) continue;
          seen.add(key);
          g.fillRect(px - size / 2, py - size / 2, size, size);
        }
      }
      g.restore();
      return null;
    };
    return new uPlot(options(element, height, { y: { distr: 3 } }, [{ paths, points: { show: false } }], [logAxis()]), [times, took], element);
  });
  add("quantiles", 210, (element, height) => new uPlot(options(element, height, { y: { distr: 3 } },
    [line("--max"), line("--p99"), line("--p95"), line("--p50", 2)], [logAxis()]),
    [x, gaps(data.series.max), gaps(data.series.p99), gaps(data.series.p95), gaps(data.series.p50)], element));
  add("rate", 210, (element, height) => new uPlot(options(element, height, { y: { range: (u, a, b) => [0, Math.max(b, 1) * 1.08] } },
    [Object.assign(line("--hold", 2), { fill: () => style("--hold-wash") }), line("--op-fail"), line("--op-info")], [Object.assign(axis(), { size: 54 })]),
    [x, data.series.ok, data.series.fail, data.series.info], element));

  timeline.onChange((from, to) => all.forEach(c => c.u.setScale("x", { min: from / 1e6, max: to / 1e6 })));
  const resize = () => all.forEach(c => c.element.clientWidth && c.u.setSize({ width: c.element.clientWidth, height: c.height }));
  let waiting = 0;
  new ResizeObserver(() => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(resize); }).observe(document.getElementById("charts"));
  return { redraw: () => all.forEach(c => c.u.redraw(false, true)) };
}

// digitsOf is how many digits tell the marks of an axis apart.
function digitsOf(marks) {
  const step = marks.length > 1 ? marks[1] - marks[0] : 1;
  return [0, 1, 2, 3].find(d => Math.abs(step * 10 ** d - Math.round(step * 10 ** d)) < 1e-6) ?? 3;
}
