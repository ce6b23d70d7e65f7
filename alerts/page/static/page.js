"use strict";
const messages = JSON.parse(document.querySelector('meta[name="messages"]')?.content ?? "{}");
const _ = (text, values = {}) => (messages[text] ?? text).replace(/%\((\w+)\)s|%%/g, (all, name) => name ? values[name] : "%");
(() => {
  const { lang, dataset: { zone: timeZone } } = document.documentElement;
  const locale = `${lang}-US`;
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const lines = ["--line-1", "--line-2", "--line-3", "--line-4"];
  const dashes = [[], [10, 6], [2, 5], [12, 5, 2, 5]]; // with more than four lines, color alone is not enough
  const tone = (kind) =>
    style({ vape: "--alarm", smoke: "--alarm", tamper: "--attention", sensor_fault: "--attention" }[kind] || "--notable");

  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const marking = (marks) => ({
    hooks: {
      drawClear: [(u) => {
        const { ctx, bbox } = u;
        const within = (time) => Math.min(Math.max(u.valToPos(time, "x", true), bbox.left), bbox.left + bbox.width);
        ctx.save();
        ctx.globalAlpha = 0.25;
        for (const mark of marks) {
          const left = within(mark.onset);
          ctx.fillStyle = tone(mark.kind);
          ctx.fillRect(left, bbox.top, Math.max(within(mark.end) - left, 2 * devicePixelRatio), bbox.height);
        }
        ctx.restore();
      }],
    },
  });

  // steps are whole minutes, or days if labels are dates, so that no two ticks have the same label
  const ticks = (span) => {
    const form = new Intl.DateTimeFormat(locale, {
      timeZone, ...(span > 172800 ? { month: "short", day: "numeric" } : { hour: "numeric", minute: "2-digit" }),
    });
    const incrs = span > 172800 ? [1440, 2880, 4320, 10080, 20160, 40320] : [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 480, 720];
    return { values: (u, times) => times.map((time) => form.format(1000 * time)), incrs: incrs.map((minutes) => 60 * minutes) };
  };

  // no line reaches a point between two gaps, so it is drawn as a dot
  const single = (u, k) => {
    const own = [...u.data[k].keys()].filter((i) => u.data[k][i] !== undefined);
    const missing = (n) => (u.data[k][own[n]] ?? null) === null;
    return own.filter((i, n) => !missing(n) && missing(n - 1) && missing(n + 1));
  };

  const draw = (box, body) => {
    box.body = body; // to redraw the charts in other colors
    for (const plot of box.plots || []) plot.destroy();
    box.plots = [];
    box.replaceChildren();
    if (!body.charts.length) {
      box.append(element("p", "info empty", _("No readings in this period.")));
      return;
    }
    const kinds = [...new Set(body.marks.map((m) => m.words))];
    body.charts.forEach((chart) => {
      const figure = element("figure");
      const caption = element("figcaption", "", chart.unit ? `${chart.title}, ${chart.unit}` : chart.title);
      chart.lines.forEach((line, k) => {
        if (chart.lines.length < 2) return;
        const legend = element("span", "legend");
        legend.append(element("i", `c${(k % 4) + 1} d${Math.floor(k / 4) % 4}`), document.createTextNode(line.sensor));
        caption.append(legend);
      });
      const values = chart.lines.flatMap((l) => l.values).filter((v) => v !== null);
      const last = chart.lines[0].values.filter((v) => v !== null).at(-1) ?? 0;
      figure.append(caption);
      const plotted = element("div");
      plotted.setAttribute("role", "img");
      plotted.setAttribute("aria-label",
        _("%(title)s: from %(low)s to %(high)s %(unit)s, latest %(last)s", { title: chart.title, low: Math.min(...values).toFixed(0),
          high: Math.max(...values).toFixed(0), unit: chart.unit, last: last.toFixed(0) })
        + (kinds.length ? _("; marked: %(kinds)s", { kinds: kinds.join(", ") }) : ""));
      figure.append(plotted);
      box.append(figure);
      const axis = { stroke: style("--fine"), grid: { stroke: style("--grid"), width: 1 }, ticks: { stroke: style("--grid") } };
      const width = () => Math.max(figure.clientWidth - 16, 200);
      const plot = new uPlot({
        width: width(),
        height: 170,
        tzDate: (t) => uPlot.tzDate(new Date(t * 1000), timeZone),
        legend: { show: false },
        cursor: { points: { size: 6 } },
        scales: { x: { range: [body.start, body.end] }, y: { range: (u, low, high) => [Math.min(low, 0), Math.max(high * 1.08, low + 5)] } },
        axes: [{ ...axis, ...ticks(body.end - body.start), space: 80, size: 32 }, { ...axis, space: 40, size: 52 }],
        series: [{}, ...chart.lines.map((line, k) => ({
          label: line.sensor, stroke: style(lines[k % 4]), dash: dashes[Math.floor(k / 4) % 4], width: 2, points: { show: false, filter: single },
        }))],
        plugins: [marking(body.marks)],
      }, uPlot.join(chart.lines.map((line) => [line.times, line.values])), plotted);
      new ResizeObserver(() => plot.setSize({ width: width(), height: 170 })).observe(figure);
      box.plots.push(plot);
    });
    if (kinds.length) box.append(element("p", "fine marks", _("Shaded: %(events)s", { events: kinds.join(", ") })));
    box.dataset.drawn = "yes";
  };

  let updated = new Date();
  const stale = (old) => {
    const note = document.getElementById("stale");
    if (!note) return;
    if (!old) updated = new Date();
    note.hidden = !old;
    const time = updated.toLocaleTimeString(locale, { timeZone, hour: "numeric", minute: "2-digit" });
    document.getElementById("updated").textContent = _("Last update %(time)s.", { time });
  };

  // each part of the page fetches its own content
  const refresh = () => {
    const renew = () => { if (!document.hidden) htmx.trigger(document.body, "live"); };
    document.addEventListener("visibilitychange", renew);
    setInterval(renew, 5000);
  };

  const load = async (box) => {
    box.loaded = Date.now();
    try {
      const address = new URL(box.dataset.series, location);
      address.searchParams.set("lang", lang);
      const answer = await fetch(address, { credentials: "same-origin", signal: AbortSignal.timeout(8000) });
      if (answer.redirected) return location.reload(); // to sign in
      if (!answer.ok) throw new Error(String(answer.status));
      const body = await answer.json();
      if (!box.contains(document.activeElement) && !box.matches(":hover")) draw(box, body);
      else if (!box.dataset.drawn) draw(box, body);
      stale(false);
    } catch {
      stale(true);
    }
  };

  // keep the age of readings up to date, even while the connection is lost
  const duration = (s) => s >= 86400 ? `${Math.round(s / 86400)} d` : s >= 3600 ? `${Math.round(s / 3600)} h`
    : s >= 60 ? `${Math.round(s / 60)} min` : `${Math.round(s)} s`;
  const shown = new WeakMap();
  const count = () => {
    for (const age of document.querySelectorAll("[data-age]")) {
      if (!shown.has(age)) shown.set(age, Date.now() - 1000 * age.dataset.age);
      const seconds = (Date.now() - shown.get(age)) / 1000;
      age.textContent = seconds < 30 ? _("just now") : _("%(time)s ago", { time: duration(seconds) });
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    if ("serviceWorker" in navigator && window.isSecureContext) navigator.serviceWorker.register("/service-worker.js").catch(() => {});
    count();
    setInterval(count, 1000);
    for (const box of document.querySelectorAll(".charts")) load(box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      for (const box of document.querySelectorAll(".charts[data-drawn]")) draw(box, box.body);
    });
    document.body.addEventListener("live", () => {
      for (const box of document.querySelectorAll(".charts[data-live]")) {
        if (Date.now() - (box.loaded || 0) > 4000) load(box);
      }
    });
    refresh();
    document.body.addEventListener("htmx:configRequest", (e) => { if (e.detail.verb === "get") e.detail.parameters.lang = lang; });
    document.body.addEventListener("htmx:afterSwap", (e) => {
      const news = e.detail.target.querySelector("[data-announce]");
      const region = document.getElementById("announce");
      if (news && region.textContent !== news.dataset.announce) region.textContent = news.dataset.announce;
    });
    document.body.addEventListener("htmx:afterRequest", (e) => stale(!e.detail.successful));
    document.body.addEventListener("click", ({ target }) => {
      if (target.matches("button.print")) print();
      if (!target.matches(".copied button")) return;
      target.previousElementSibling.select();
      if (document.execCommand("copy")) target.textContent = _("Copied");
    });
  });
})();
