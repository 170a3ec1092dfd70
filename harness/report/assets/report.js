"use strict";
// The page without this script has the verdicts, the story, the faults and the tables. The script draws.
(function () {
  const root = document.documentElement, colors = new Map();
  function style(name) {
    let v = colors.get(name);
    if (v === undefined) colors.set(name, v = getComputedStyle(root).getPropertyValue(name).trim());
    return v;
  }
  function theme(name) {
    root.dataset.theme = name;
    colors.clear();
  }
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null, drawn = null;
  function apply() {
    theme(chosen || (dark.matches ? "dark" : "light"));
    if (drawn) { drawn.timeline.drawNow(); drawn.charts.redraw(); }
  }
  apply();
  dark.addEventListener("change", apply);
  document.getElementById("theme").addEventListener("click", () => { chosen = root.dataset.theme === "dark" ? "light" : "dark"; apply(); });
  addEventListener("beforeprint", () => { theme("light"); for (const d of document.querySelectorAll("details")) d.open = true; if (drawn) { drawn.timeline.set(0, Infinity); drawn.timeline.drawNow(); drawn.charts.redraw(); } });
  addEventListener("afterprint", apply);

  for (const b of document.querySelectorAll("[data-copy]")) b.addEventListener("click", async () => {
    const text = document.getElementById(b.dataset.copy).textContent;
    try { await navigator.clipboard.writeText(text); b.textContent = "Copied"; } catch { getSelection().selectAllChildren(document.getElementById(b.dataset.copy)); }
  });

  async function unpack(id) {
    const bytes = Uint8Array.from(atob(document.getElementById(id).textContent.trim()), c => c.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
  }

  // sums turns differences into values, in place.
  function sums(column) { for (let i = 1; i < column.length; i++) column[i] += column[i - 1]; }

  function byClient(data, of) {
    const lists = data.clients.map(() => ({ at: [], longest: 0 }));
    for (let i = 0; i < of.s.length; i++) {
      const list = lists[of.c[i]];
      list.at.push(i);
      list.longest = Math.max(list.longest, of.d[i]);
    }
    return lists;
  }

  unpack("data").then(data => {
    for (const part of [data.ops, data.holds, data.writes]) { for (const k in part) part[k] = part[k] || []; sums(part.s); }
    for (const k of ["faults", "servers", "stalls", "violations", "sessions", "suspended", "phases", "clients"]) data[k] = data[k] || [];
    data.opsOf = byClient(data, data.ops);
    data.holdsOf = byClient(data, data.holds);
    data.goneOf = data.holdsOf.map(list => data.holds.g ? list.at.filter(i => data.holds.g[i] >= 0) : []);
    data.sessionsOf = data.clients.map((_, c) => data.sessions.filter(s => s.c === c));
    data.suspendedOf = data.clients.map((_, c) => data.suspended.filter(s => s.c === c));
    const timeline = Timeline(data, style), charts = document.getElementById("charts") ? Charts(data, style, timeline) : { redraw() {} };
    drawn = { timeline, charts };
    const on = (id, f) => { const b = document.getElementById(id); if (b) b.addEventListener("click", f); };
    on("closer", () => timeline.zoom(.5));
    on("wider", () => timeline.zoom(2));
    on("whole", () => timeline.set(0, data.end));
    function follow() {
      const m = /^#violation-(\d+)$/.exec(location.hash);
      if (m && data.violations[m[1]]) timeline.showViolation(+m[1]);
      const f = /^#fault-(\d+)$/.exec(location.hash), fault = f && data.faults[f[1]];
      if (fault) {
        const length = Math.max(fault.t - fault.f, 1e5);
        timeline.set(fault.f - length * .4, fault.t + length * .4);
        document.getElementById("timeline").scrollIntoView({ block: "start" });
      }
    }
    addEventListener("hashchange", follow);
    // A link that is followed twice goes there twice.
    document.addEventListener("click", e => { const a = e.target.closest('a[href^="#violation-"], a[href^="#fault-"]'); if (a && a.hash === location.hash) follow(); });
    follow();
    window.zkcoord = drawn; // for whoever wants to look closer in the console
    root.dataset.drawn = "yes";
  }).catch(err => {
    console.error(err);
    document.getElementById("range").textContent = "This browser cannot draw the timeline: " + err.message;
  });
})();
