"use strict";
// counts as stacked bars; the tables below them show the same numbers
(() => {
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const tones = ["--line-1", "--line-2", "--line-3", "--line-4"];
  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const draw = (box, chart) => {
    const figure = element("figure");
    const caption = element("figcaption", "", chart.title);
    chart.parts.forEach((part, k) => {
      const legend = element("span", "legend");
      legend.append(element("i", `c${(k % 4) + 1}`), document.createTextNode(part.name));
      caption.append(legend);
    });
    const totals = chart.bins.map((_, i) => chart.parts.reduce((sum, part) => sum + part.counts[i], 0));
    const most = Math.max(...totals);
    const plotted = element("div");
    plotted.setAttribute("role", "img");
    plotted.setAttribute("aria-label",
      _("%(title)s: %(n)s incidents, most (%(most)s) at %(bin)s", { title: chart.title, n: totals.reduce((a, b) => a + b, 0), most,
        bin: chart.bins[totals.indexOf(most)] }));
    figure.append(caption, plotted);
    box.append(figure);
    // each bar reaches from zero to the sum up to its part; the highest is drawn first
    const sums = chart.parts.map((_, k) => chart.bins.map((__, i) =>
      chart.parts.slice(0, k + 1).reduce((sum, part) => sum + part.counts[i], 0)));
    const axis = { stroke: style("--fine"), grid: { stroke: style("--grid"), width: 1 }, ticks: { stroke: style("--grid") } };
    const width = () => Math.max(figure.clientWidth - 16, 200);
    const paths = uPlot.paths.bars({ size: [0.8, 60], align: 0 });
    const order = chart.parts.map((_, k) => chart.parts.length - 1 - k);
    const plot = new uPlot({
      width: width(),
      height: 190,
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: false, range: [-0.6, chart.bins.length - 0.4] }, y: { range: [0, Math.max(most * 1.1, 4)] } },
      axes: [
        { ...axis, splits: () => chart.bins.map((_, i) => i).filter((i) => i % Math.ceil(chart.bins.length / 12) === 0),
          values: (_, splits) => splits.map((i) => chart.bins[i]), size: 32 },
        { ...axis, size: 44, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500] },
      ],
      series: [{}, ...order.map((k) => ({
        label: chart.parts[k].name, fill: style(tones[k % 4]), stroke: style("--card"), width: 1, paths, points: { show: false },
      }))],
    }, [chart.bins.map((_, i) => i), ...order.map((k) => sums[k])], plotted);
    new ResizeObserver(() => plot.setSize({ width: width(), height: 190 })).observe(figure);
  };

  document.addEventListener("DOMContentLoaded", async () => {
    for (const box of document.querySelectorAll(".bars[data-series]")) {
      try {
        const answer = await fetch(box.dataset.series, { credentials: "same-origin", signal: AbortSignal.timeout(8000) });
        if (answer.redirected || !answer.ok) throw new Error(String(answer.status));
        const { charts } = await answer.json();
        const show = () => { box.replaceChildren(); for (const chart of charts) draw(box, chart); };
        show();
        matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
        if (!charts.length) box.append(element("p", "info", _("No incidents in this period.")));
        box.dataset.drawn = "yes";
      } catch {
        document.getElementById("stale").hidden = false;
      }
    }
  });
})();
