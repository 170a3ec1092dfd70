"use strict";
// The timeline: lanes to scale on one canvas, and a map of the whole run above it. It draws what is visible, and of what
// falls on one pixel only the first, so that a frame costs about the same for a hundred operations and a hundred thousand.
function Timeline(data, style) {
  const map = document.getElementById("map"), lanes = document.getElementById("lanes"), tip = document.getElementById("tip");
  const view = { from: 0, to: Math.max(data.end, 1) };
  const rows = layout();
  const named = rows.some(r => r.path), at = data.begun ? moment : seconds;
  let width = 0, gutter = 92, marked = -1, frame = 0;
  const listeners = [];

  // layout gives every lane its place: faults, servers, the resource, what the servers' logs say, then clients with belief
  // above truth above operations. An audit has a lane for each path instead of clients. Violations are marked on the rows
  // with their numbers.
  function layout() {
    const all = [];
    let y = 30;
    const add = (kind, height, label, of, more) => { all.push(Object.assign({ kind, y, height, label, of }, more)); y += height; };
    const addHeld = (spans, label, most, more) => {
      const stacked = stack(spans, most), longest = spans.reduce((n, s) => Math.max(n, s.t - s.f), 0);
      add("log", 10 + 13 * Math.max(1, stacked), label, { spans, longest }, more);
    };
    data.faultRows = stack(data.faults, 4);
    if (data.faults.length) add("faults", 8 + 15 * Math.max(1, data.faultRows), "faults", 0);
    data.servers.forEach((spans, i) => spans && spans.length && add("server", 20, "server n" + i, i));
    if (data.writes.s.length) add("writes", 22, "resource", 0);
    if (data.log && data.log.length) addHeld(data.log, "servers' log", 4);
    (data.lanes || []).forEach(l => addHeld(l.s, l.n, 12, { path: !l.b, belief: l.b, mark: l.m }));
    data.clients.forEach((c, i) => add("client", 42, "client c" + c, i, { mark: i }));
    all.height = y + 8;
    return all;
  }

  // stack puts spans that overlap on rows of their own, up to a number of rows.
  function stack(spans, most) {
    const ends = [];
    for (const f of spans) {
      let row = ends.findIndex(end => end <= f.f);
      if (row < 0) row = Math.min(ends.length, most - 1);
      ends[row] = f.t;
      f.row = row;
    }
    return ends.length;
  }

  // moment writes a time as a clock shows it, as exactly as a step asks for.
  function moment(t, step) {
    const text = new Date(data.begun + t / 1e3).toISOString();
    return step === undefined || step < 1e6 ? text.slice(11, 23) : step >= 864e8 ? text.slice(5, 10) : text.slice(11, step < 6e7 ? 19 : 16);
  }

  const x = t => gutter + (t - view.from) / (view.to - view.from) * (width - gutter);
  const time = px => view.from + (px - gutter) / (width - gutter) * (view.to - view.from);

  function prepare(canvas, height) {
    const scale = window.devicePixelRatio || 1;
    canvas.style.height = height + "px";
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const g = canvas.getContext("2d");
    g.setTransform(scale, 0, 0, scale, 0, 0);
    g.clearRect(0, 0, width, height);
    return g;
  }

  function draw() {
    frame = 0;
    width = lanes.clientWidth || lanes.parentElement.clientWidth;
    gutter = named ? Math.min(230, width * .3) : width < 560 ? 62 : 92;
    const g = prepare(lanes, rows.height);
    g.font = "12px " + style("--sans");
    g.textBaseline = "middle";
    g.save();
    g.beginPath(); g.rect(gutter, 0, width - gutter, rows.height); g.clip();
    shades(g);
    grid(g);
    for (const r of rows) ({ faults: drawFaults, server: drawServer, writes: drawWrites, log: drawLog, client: drawClient })[r.kind](g, r);
    g.restore();
    labels(g);
    g.save();
    g.beginPath(); g.rect(gutter, 0, width - gutter, rows.height); g.clip();
    drawViolations(g); // above the lines between lanes
    g.restore();
    drawMap();
    document.getElementById("range").textContent = at(view.from) + " to " + at(view.to) + (data.begun ? " UTC" : " of " + seconds(data.end));
  }

  function shades(g) {
    for (const f of data.faults) {
      if (f.t < view.from || f.f > view.to) continue;
      g.fillStyle = style("--fault-wash");
      const a = x(f.f), w = Math.max(1, x(f.t) - a);
      g.fillRect(a, 24, w, rows.height - 24);
    }
    for (const p of data.phases) if (p.w !== "work") {
      g.fillStyle = style("--wash");
      g.globalAlpha = .6;
      g.fillRect(x(p.f), 24, x(p.t) - x(p.f), rows.height - 24);
      g.globalAlpha = 1;
    }
    for (const s of data.stalls) {
      g.fillStyle = style("--suspended");
      g.globalAlpha = .18;
      g.fillRect(x(s.f), 24, Math.max(1, x(s.t) - x(s.f)), rows.height - 24);
      g.globalAlpha = 1;
    }
  }

  function grid(g) {
    const half = data.begun ? 30 : 20; // of a text
    const step = niceStep((view.to - view.from) / Math.max(2, (width - gutter) / 95), data.begun), offset = data.begun ? data.begun % 864e5 * 1e3 % step : 0;
    g.strokeStyle = style("--line");
    g.fillStyle = style("--faint");
    g.lineWidth = 1;
    g.textAlign = "center";
    for (let t = Math.ceil((view.from + offset) / step) * step - offset; t <= view.to; t += step) {
      const px = Math.round(x(t)) + .5;
      g.beginPath(); g.moveTo(px, 24); g.lineTo(px, rows.height); g.stroke();
      g.fillText(at(t, step), Math.min(width - half - 2, Math.max(gutter + half, px)), 13);
    }
  }

  function labels(g) {
    g.textAlign = "left";
    const small = width < 560;
    for (const r of rows) {
      g.strokeStyle = style("--line");
      g.beginPath(); g.moveTo(0, r.y + .5); g.lineTo(r.kind === "client" || r.path || r.label === "faults" ? width : gutter, r.y + .5); g.stroke();
      g.fillStyle = style(r.kind === "client" || r.path ? "--ink" : "--soft");
      g.font = (r.kind === "client" ? "550 " : "") + (small ? "11px " : "12px ") + style("--sans");
      g.fillText(fitting(g, small ? r.label.replace(/^(client|server) /, "") : r.label, gutter - 18), small ? 8 : 13, r.y + (r.kind === "client" ? 15 : r.height / 2));
    }
  }

  // fitting is the end of a text, which is what distinguishes paths.
  function fitting(g, text, room) {
    if (g.measureText(text).width <= room) return text;
    while (text.length > 2 && g.measureText("…" + text).width > room) text = text.slice(1);
    return "…" + text;
  }

  function bar(g, a, b, y, height, color, least) {
    const from = Math.max(x(a), gutter - 2), to = Math.min(x(b), width + 2);
    g.fillStyle = color;
    g.fillRect(from, y, Math.max(least || 1, to - from), height);
    return to - from;
  }

  function inside(g, text, a, b, y, color) {
    const from = Math.max(x(a), gutter) + 5, room = Math.min(x(b), width) - from - 4;
    if (room < 26) return;
    g.fillStyle = color;
    g.textAlign = "left";
    g.font = "11px " + style("--sans");
    while (text.length > 2 && g.measureText(text).width > room) text = text.slice(0, -2) + "…";
    if (text.length > 2) g.fillText(text, from, y);
  }

  function drawFaults(g, r) {
    for (const f of data.faults) {
      if (f.t < view.from || f.f > view.to) continue;
      const y = r.y + 5 + 15 * f.row;
      bar(g, f.f, f.t, y, 12, style(f.e ? "--bad" : "--fault"), 3);
      inside(g, f.n + (f.x ? "  " + f.x : ""), f.f, f.t, y + 6.5, style("--card"));
    }
  }

  function drawServer(g, r) {
    const colors = { leader: "--leader", standalone: "--leader", follower: "--follower", observer: "--follower", looking: "--looking", silent: "--silent" };
    for (const s of data.servers[r.of]) {
      if (s.t < view.from || s.f > view.to) continue;
      const down = s.w === "down";
      bar(g, s.f, s.t, r.y + (down ? 9 : 5), down ? 2 : 10, style(colors[s.w] || "--down"));
      if (s.w !== "follower") inside(g, s.w, s.f, s.t, r.y + 10.5, style(s.w === "leader" || s.w === "standalone" ? "--card" : "--ink"));
    }
  }

  function drawWrites(g, r) {
    const w = data.writes;
    let last = -1;
    for (let i = first(w.s, view.from); i < w.s.length && w.s[i] <= view.to; i++) {
      const at = Math.round(x(w.s[i]));
      if (w.o[i] && at === last) continue;
      g.fillStyle = style(w.o[i] ? "--op-ok" : "--bad");
      g.fillRect(at, r.y + (w.o[i] ? 9 : 4), w.o[i] ? 1 : 2, w.o[i] ? 6 : 14);
      if (w.o[i]) last = at;
    }
  }

  // held yields the spans of a lane between two times. They are in order of their begins.
  function* held(of, from, to) {
    let lo = 0, hi = of.spans.length;
    while (lo < hi) { const m = lo + hi >> 1; if (of.spans[m].f < from - of.longest) lo = m + 1; else hi = m; }
    for (; lo < of.spans.length && of.spans[lo].f <= to; lo++) if (of.spans[lo].t >= from) yield of.spans[lo];
  }

  function drawLog(g, r) {
    const last = [], marks = [];
    for (const s of held(r.of, view.from, view.to)) {
      const y = r.y + 5 + 13 * s.row, end = x(s.t);
      if (end <= last[s.row] && s.w !== "expired") continue;
      const w = bar(g, s.f, s.t, y, 11, style(r.belief ? "--hold" : "--leader"));
      last[s.row] = Math.max(x(s.f) + 1, end);
      if (s.w === "expired" || s.w === "revoked") marks.push([s.t, y]);
      if (w > 30) inside(g, holder(s), s.f, s.t, y + 6, style("--card"));
    }
    for (const [t, y] of marks) bar(g, t, t, y - 2, 15, style("--bad"), 2); // above the next holder
  }

  function holder(s) { return s.n || (s.c < 0 ? "session " + s.i : "client c" + data.clients[s.c]); }

  function drawClient(g, r) {
    const c = r.of;
    const ops = data.ops, holds = data.holds, mine = data.opsOf[c], held = data.holdsOf[c];
    for (const s of data.sessionsOf[c]) {
      if (s.t < view.from || s.f > view.to) continue;
      bar(g, s.f, s.t, r.y + 20, 4, style("--alive"));
      if (s.w === "lost" || s.w === "expired") bar(g, s.t, s.t, r.y + 17, 10, style("--bad"), 2);
    }
    for (const s of data.suspendedOf[c]) if (s.t >= view.from && s.f <= view.to) bar(g, s.f, s.t, r.y + 20, 4, style("--suspended"));
    // Belief stands above, and this is below it: the own node is gone, since somebody else was granted the same.
    for (const i of data.goneOf[c]) if (holds.s[i] <= view.to && holds.s[i] + holds.d[i] >= view.from) bar(g, holds.s[i] + holds.g[i], holds.s[i] + holds.d[i], r.y + 20, 4, style("--bad"), 2);
    let lastOK = -1;
    const colors = ["--op-ok", "--op-fail", "--op-info", "--op-info"].map(style);
    for (const i of visible(mine, ops)) {
      const a = x(ops.s[i]), b = x(ops.s[i] + ops.d[i]);
      if (b < gutter || ops.o[i] === 0 && b <= lastOK) continue;
      g.fillStyle = colors[ops.o[i]];
      g.fillRect(Math.max(a, gutter), r.y + 29, Math.max(1, Math.min(b, width) - Math.max(a, gutter) - .5), 5);
      if (ops.o[i] === 0) lastOK = Math.max(a + 1, b);
    }
    let last = -1;
    const color = style("--hold"), lost = style("--hold-lost");
    for (const i of visible(held, holds)) {
      const a = x(holds.s[i]), b = x(holds.s[i] + holds.d[i]);
      if (b < gutter || holds.o[i] === 0 && b <= last) continue;
      g.fillStyle = color;
      g.fillRect(Math.max(a, gutter), r.y + 7, Math.max(1, Math.min(b, width) - Math.max(a, gutter) - (b - a > 3 ? .5 : 0)), 11);
      if (holds.o[i] === 1) { g.fillStyle = lost; g.fillRect(b - 2, r.y + 4, 3, 16); }
      last = Math.max(a + 1, b);
      if (b - a > 90) inside(g, data.names[holds.b[i]].split("/").pop() + "  0x" + holds.k[i], holds.s[i], holds.s[i] + holds.d[i], r.y + 13, style("--card"));
    }
  }

  function drawViolations(g) {
    data.violations.forEach((v, n) => {
      const of = rows.filter(r => v.c.includes(r.mark));
      const top = of.length ? Math.min(...of.map(r => r.y)) : 26, bottom = of.length ? Math.max(...of.map(r => r.y + r.height)) : rows.height - 3;
      const a = x(v.f) - 3, b = Math.max(x(v.t) + 3, a + 8);
      if (b < gutter || a > width) return;
      g.strokeStyle = style("--bad");
      g.lineWidth = n === marked ? 3 : 2;
      g.beginPath(); g.roundRect(a, top + 1, b - a, bottom - top - 2, 4); g.stroke();
      g.font = "600 11px " + style("--mono");
      const w = g.measureText(v.i).width + 10;
      g.fillStyle = style("--bad");
      g.beginPath(); g.roundRect(Math.max(a, gutter), top - 7, w, 15, 4); g.fill();
      g.fillStyle = style("--card");
      g.textAlign = "left";
      g.fillText(v.i, Math.max(a, gutter) + 5, top + 1);
    });
  }

  function drawMap() {
    const h = 44, g = prepare(map, h), px = t => gutter + t / data.end * (width - gutter);
    const most = Math.max(...data.series.ok, 1);
    g.fillStyle = style("--op-ok");
    g.globalAlpha = .55;
    data.series.ok.forEach((v, i) => {
      const a = px(i * data.series.w), b = px((i + 1) * data.series.w), y = v / most * (h - 20);
      g.fillRect(a, h - 6 - y, Math.max(1, b - a), y);
    });
    g.globalAlpha = 1;
    for (const f of data.faults) { g.fillStyle = style("--fault"); g.fillRect(px(f.f), 4, Math.max(2, px(f.t) - px(f.f)), 4); }
    for (const v of data.violations) { g.fillStyle = style("--bad"); g.fillRect(px(v.f) - 1, h - 5, Math.max(4, px(v.t) - px(v.f)), 5); }
    g.fillStyle = style("--paper");
    g.globalAlpha = .72;
    g.fillRect(gutter, 0, px(view.from) - gutter, h);
    g.fillRect(px(view.to), 0, width - px(view.to), h);
    g.globalAlpha = 1;
    g.strokeStyle = style("--soft");
    g.lineWidth = 1.5;
    g.strokeRect(px(view.from) + .75, .75, Math.max(3, px(view.to) - px(view.from) - 1.5), h - 1.5);
    g.fillStyle = style("--soft");
    g.font = (width < 560 ? "11px " : "12px ") + style("--sans");
    g.textBaseline = "middle";
    g.textAlign = "left";
    g.fillText(data.begun ? "whole time" : "whole run", width < 560 ? 4 : 13, h / 2);
  }

  // visible yields the items of one client that may be in view. Starts are in order, lengths are not: the longest bounds
  // how far back to look.
  function* visible(list, of) {
    let lo = 0, hi = list.at.length;
    const from = view.from - list.longest;
    while (lo < hi) { const m = lo + hi >> 1; if (of.s[list.at[m]] < from) lo = m + 1; else hi = m; }
    for (; lo < list.at.length && of.s[list.at[lo]] <= view.to; lo++) if (of.s[list.at[lo]] + of.d[list.at[lo]] >= view.from) yield list.at[lo];
  }

  function first(times, from) {
    let lo = 0, hi = times.length;
    while (lo < hi) { const m = lo + hi >> 1; if (times[m] < from) lo = m + 1; else hi = m; }
    return lo;
  }

  function redraw() { if (!frame) frame = requestAnimationFrame(draw); }

  function set(from, to, quiet) {
    const least = 200, length = Math.min(data.end, Math.max(least, to - from));
    from = Math.max(0, Math.min(from, data.end - length));
    view.from = from; view.to = from + length;
    redraw();
    if (!quiet) listeners.forEach(l => l(view.from, view.to));
  }

  function zoom(factor, at) {
    const t = at === undefined ? (view.from + view.to) / 2 : at, length = (view.to - view.from) * factor;
    const part = (t - view.from) / (view.to - view.from);
    set(t - part * length, t + (1 - part) * length);
  }

  // What is under the pointer, in words.
  function describe(px, py) {
    const t = time(px), near = (view.to - view.from) / (width - gutter) * 3;
    const r = rows.find(r => py >= r.y && py < r.y + r.height);
    if (!r || px < gutter) return null;
    if (r.kind === "faults") {
      const row = Math.floor((py - r.y - 5) / 15), f = data.faults.find(f => f.row === row && f.f - near <= t && t <= f.t + near);
      return f && [f.n + (f.x ? " on " + f.x : ""), [seconds(f.f) + ", for " + seconds(f.t - f.f), f.a, f.b && "evidence: " + f.b, f.e && "went wrong: " + f.e]];
    }
    if (r.kind === "server") {
      const s = data.servers[r.of].find(s => s.f <= t && t < s.t);
      return s && ["server n" + r.of + ": " + s.w, [seconds(s.f) + " to " + seconds(s.t)]];
    }
    if (r.kind === "writes") {
      const w = data.writes;
      for (let i = first(w.s, t - near); i < w.s.length && w.s[i] <= t + near; i++)
        return [(w.o[i] ? "accepted" : "refused: stale token") + ", of client c" + data.clients[w.c[i]], [seconds(w.s[i], 1)]];
      return null;
    }
    if (r.kind === "log") {
      const row = Math.floor((py - r.y - 5) / 13);
      for (const s of held(r.of, t - near, t + near)) if (s.row === row)
        return [(r.belief ? "by its own log, " : "by the servers' log, ") + holder(s) + " held " + data.names[s.b],
          ["from " + at(s.f, 1) + ", for " + duration(s.t - s.f) + (s.k ? ", token 0x" + s.k : ""), "session " + s.i,
            r.belief ? s.w : s.w ? "its znode was deleted: " + s.w : "its znode was never deleted"]];
      return null;
    }
    const dy = py - r.y, c = r.of;
    if (dy < 19) {
      const h = data.holds;
      for (const i of visible(data.holdsOf[c], h)) if (h.s[i] - near <= t && t <= h.s[i] + h.d[i] + near)
        return ["client c" + data.clients[c] + " holds " + data.names[h.b[i]],
          ["from " + seconds(h.s[i], 1) + ", for " + duration(h.d[i]) + ", token 0x" + h.k[i], h.g && h.g[i] >= 0 && "another client held it from " + seconds(h.s[i] + h.g[i], 1) + " on", ["given up", "lost: " + data.names[h.e[i]], "never ended"][h.o[i]]]];
    } else if (dy < 27) {
      const find = list => list.find(s => s.f - near <= t && t <= s.t + near), gap = find(data.suspendedOf[c]), s = find(data.sessionsOf[c]);
      if (gap) return ["no server answered client c" + data.clients[c], ["session " + gap.i, seconds(gap.f, 1) + ", for " + duration(gap.t - gap.f)]];
      if (s) return ["session " + s.i + " of client c" + data.clients[c], [seconds(s.f, 1) + " to " + seconds(s.t, 1), s.w && "ended: " + s.w]];
    } else {
      const o = data.ops;
      for (const i of visible(data.opsOf[c], o)) if (o.s[i] - near <= t && t <= o.s[i] + o.d[i] + near)
        return [data.names[o.k[i]] + " " + data.names[o.b[i]], ["client c" + data.clients[c] + ", at " + seconds(o.s[i], 1) + ", " + duration(o.d[i]),
          ["ok", "failed: ", "indeterminate: ", "no answer"][o.o[i]] + data.names[o.e[i]]]];
    }
    return null;
  }

  function showTip(e) {
    const box = lanes.getBoundingClientRect(), found = describe(e.clientX - box.left, e.clientY - box.top);
    tip.hidden = !found;
    if (!found) return;
    tip.replaceChildren();
    const b = document.createElement("b");
    b.textContent = found[0];
    tip.append(b);
    for (const line of found[1].filter(Boolean)) { const s = document.createElement("small"); s.textContent = line; tip.append(s); }
    const w = tip.offsetWidth, h = tip.offsetHeight;
    tip.style.left = Math.max(6, Math.min(e.clientX + 14, innerWidth - w - 8)) + "px";
    tip.style.top = (e.clientY + h + 24 > innerHeight ? e.clientY - h - 12 : e.clientY + 16) + "px";
  }

  // One pointer pans, two zoom; the wheel zooms with a modifier and pans sideways, so that the page still scrolls.
  const pointers = new Map();
  lanes.addEventListener("pointerdown", e => { lanes.setPointerCapture(e.pointerId); pointers.set(e.pointerId, e.clientX); lanes.classList.add("grabbed"); });
  lanes.addEventListener("pointermove", e => {
    if (!pointers.has(e.pointerId)) { showTip(e); return; }
    tip.hidden = true;
    const before = [...pointers.values()];
    const moved = e.clientX - pointers.get(e.pointerId);
    pointers.set(e.pointerId, e.clientX);
    if (pointers.size === 2) {
      const now = [...pointers.values()], was = Math.abs(before[0] - before[1]) || 1, is = Math.abs(now[0] - now[1]) || 1;
      zoom(was / is, time((now[0] + now[1]) / 2 - lanes.getBoundingClientRect().left));
      return;
    }
    const d = moved / (width - gutter) * (view.to - view.from);
    set(view.from - d, view.to - d);
  });
  const up = e => { pointers.delete(e.pointerId); if (!pointers.size) lanes.classList.remove("grabbed"); };
  lanes.addEventListener("pointerup", up);
  lanes.addEventListener("pointercancel", up);
  lanes.addEventListener("pointerleave", () => { tip.hidden = true; });
  lanes.addEventListener("click", showTip);
  lanes.addEventListener("dblclick", e => zoom(.4, time(e.clientX - lanes.getBoundingClientRect().left)));
  lanes.addEventListener("wheel", e => {
    const sideways = Math.abs(e.deltaX) > Math.abs(e.deltaY);
    if (!sideways && !e.ctrlKey && !e.metaKey && !e.shiftKey) return;
    e.preventDefault();
    if (e.ctrlKey || e.metaKey) { zoom(Math.exp(e.deltaY / 300), time(e.clientX - lanes.getBoundingClientRect().left)); return; }
    const d = (sideways ? e.deltaX : e.deltaY) / (width - gutter) * (view.to - view.from);
    set(view.from + d, view.to + d);
  }, { passive: false });
  lanes.addEventListener("keydown", e => {
    const length = view.to - view.from;
    const act = { ArrowLeft: () => set(view.from - length / 5, view.to - length / 5), ArrowRight: () => set(view.from + length / 5, view.to + length / 5),
      "+": () => zoom(.6), "=": () => zoom(.6), "-": () => zoom(1 / .6), "0": () => set(0, data.end), Home: () => set(0, data.end) }[e.key];
    if (act) { e.preventDefault(); act(); }
  });

  // A range drawn on the map is what is shown; a click centres.
  let begun = null;
  const onMap = e => Math.max(0, Math.min(data.end, (e.clientX - map.getBoundingClientRect().left - gutter) / (width - gutter) * data.end));
  map.addEventListener("pointerdown", e => { map.setPointerCapture(e.pointerId); begun = onMap(e); });
  map.addEventListener("pointermove", e => { if (begun !== null) { const t = onMap(e); if (Math.abs(t - begun) > data.end / 200) set(Math.min(t, begun), Math.max(t, begun)); } });
  map.addEventListener("pointerup", e => {
    const t = onMap(e), half = (view.to - view.from) / 2;
    if (begun !== null && Math.abs(t - begun) <= data.end / 200) set(t - half, t + half);
    begun = null;
  });

  new ResizeObserver(redraw).observe(lanes.parentElement);
  draw();
  return {
    set, zoom, redraw, drawNow: draw, view,
    onChange: l => listeners.push(l),
    showViolation(n) {
      // As much of the proof around it as leaves the violation itself to be seen.
      const v = data.violations[n], length = Math.max(v.t - v.f, data.end / 400, 2000);
      const from = Math.max(v.pf, v.f - length * 40), to = Math.min(v.pt, v.t + length * 40), margin = Math.max(length * .35, (to - from) * .06);
      marked = n;
      set(from - margin, to + margin);
      document.getElementById("timeline").scrollIntoView({ block: "start" });
    },
  };
}

// niceStep is a step between marks: a power of ten times 1, 2 or 5. Above a second, that of a clock is a part of a minute,
// an hour or a day.
function niceStep(least, clock) {
  let step = 1;
  while (step * 10 <= least) step *= 10;
  if (!clock || least <= 1e6) return [1, 2, 5, 10].map(m => m * step).find(s => s >= least);
  const seconds = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200].find(s => s * 1e6 >= least);
  return seconds ? seconds * 1e6 : Math.ceil(least / 864e8) * 864e8;
}

// seconds writes a time since the start, as exactly as a step (both in microseconds) asks for.
function seconds(t, step) {
  const digits = step === undefined ? 2 : step >= 1e6 ? 0 : step >= 1e5 ? 1 : step >= 1e4 ? 2 : step >= 1e3 ? 3 : 6;
  return (t / 1e6).toFixed(digits) + " s";
}

function duration(d) { return d >= 1e6 ? (d / 1e6).toFixed(2) + " s" : d >= 1e3 ? (d / 1e3).toFixed(1) + " ms" : d + " µs"; }
