// Draws one dashboard, given as window.GALLERY, with the components of @grafana/ui. What the
// InfluxDB data source and the panel plugins of a Grafana do between answer and component is done
// here as their documentation says; transformations, units, thresholds, mappings and overrides are
// those of @grafana/data.
import "uplot/dist/uPlot.min.css";
import "@grafana/react-data-grid/lib/styles.css";
import React from "react";
import { createRoot } from "react-dom/client";
import { lastValueFrom } from "rxjs";
import {
  applyFieldOverrides, cacheFieldDisplayNames, createTheme, dateTime, EventBusSrv, FieldType, getDisplayValueAlignmentFactors, getFieldDisplayValues, Registry,
  standardTransformers, standardTransformersRegistry, ThemeContext, toDataFrame, transformDataFrame,
} from "@grafana/data";
import { BarGauge, BigValue, GlobalStyles, PanelChrome, PanelContextProvider, TimeSeries, VizRepeater } from "@grafana/ui";
import { TableNG } from "@grafana/ui/unstable";

const { dashboard, answers, from, to, width } = window.GALLERY;
const theme = createTheme({ colors: { mode: "light" } });
const phone = width < 769;
const COLUMN = width / 24, ROW = 30, GAP = 8;

const transformers = new Map(Object.values(standardTransformers).map((one) => [one.id, one]));
standardTransformersRegistry.setInit(() => [...transformers.values()].map((transformation) => ({
  id: transformation.id, name: transformation.name, transformation: () => Promise.resolve(transformation), editor: () => null,
  imageDark: "", imageLight: "", description: "",
})));

const properties = new Registry(() => [
  "color", "unit", "decimals", "min", "max", "thresholds", "mappings", "links", "noValue", "displayName",
  "custom.width", "custom.minWidth", "custom.wrapText", "custom.cellOptions", "custom.lineStyle", "custom.fillOpacity",
].map((id) => ({
  id, name: id, path: id.replace("custom.", ""), isCustom: id.startsWith("custom."), override: () => null, editor: () => null,
  process: (value) => value, shouldApply: () => true, getItemsCount: () => 1,
})));

const named = (text, tags, column, measurement) => text
  ? text.replace(/\$tag_(\w+)/g, (_, tag) => tags[tag] ?? "").replace(/\$col/g, column)
  : `${measurement}.${column}`;

const typed = (values) => values.some((v) => typeof v === "string") ? FieldType.string : FieldType.number;

const lines = (target, series) => series.flatMap(({ name, tags = {}, columns, values }) => columns.slice(1).map((column, k) => toDataFrame({
  refId: target.refId,
  fields: [
    { name: "Time", type: FieldType.time, values: values.map((row) => row[0]) },
    {
      name: "Value", type: typed(values.map((row) => row[k + 1])), values: values.map((row) => row[k + 1]), labels: tags,
      config: { displayNameFromDS: named(target.alias, tags, column, name) },
    },
  ],
})));

const rows = (target, series) => {
  if (!series.length) return [];
  const tags = Object.keys(series[0].tags ?? {});
  const all = series.flatMap((one) => one.values.map((row) => ({ row, tags: one.tags ?? {} })));
  const column = (k) => all.map(({ row }) => row[k]);
  return [toDataFrame({
    refId: target.refId,
    fields: [
      { name: "Time", type: FieldType.time, values: column(0) },
      ...tags.map((tag) => ({ name: tag, type: FieldType.string, values: all.map((one) => one.tags[tag]) })),
      ...series[0].columns.slice(1).map((name, k) => ({ name, type: typed(column(k + 1)), values: column(k + 1) })),
    ],
  })];
};

const GRAPH = {
  drawStyle: "line", lineInterpolation: "linear", lineWidth: 1, fillOpacity: 0, gradientMode: "none", showPoints: "auto",
  pointSize: 5, barAlignment: 0, barWidthFactor: 0.6, axisPlacement: "auto", axisLabel: "", axisColorMode: "text",
  axisBorderShow: false, axisCenteredZero: false, scaleDistribution: { type: "linear" }, spanNulls: false, insertNulls: false,
  hideFrom: { legend: false, tooltip: false, viz: false }, stacking: { mode: "none", group: "A" },
  thresholdsStyle: { mode: "off" },
};

const framesOf = async (panel) => {
  const found = panel.targets.flatMap((target) => {
    const series = answers[`${panel.id}${target.refId}`];
    return target.resultFormat === "table" ? rows(target, series) : lines(target, series);
  });
  const steps = (panel.transformations ?? []).map(({ id, options }) => ({ id, options }));
  const data = await lastValueFrom(transformDataFrame(steps, found, { interpolate: (text) => text }));
  const { defaults, overrides } = panel.fieldConfig;
  const base = panel.type === "timeseries" ? GRAPH : panel.type === "table" ? { align: "auto", cellOptions: { type: "auto" }, filterable: false } : {};
  const fieldConfig = {
    defaults: {
      color: { mode: "thresholds" }, thresholds: { mode: "absolute", steps: [{ value: null, color: "green" }] },
      ...defaults, custom: { ...base, ...defaults.custom },
    },
    overrides,
  };
  const replaceVariables = (text) => text;
  const shown = applyFieldOverrides({
    data: data.map((frame) => ({ ...frame, fields: frame.fields.map((field) => ({ ...field, config: { ...field.config } })) })),
    fieldConfig, replaceVariables, theme, timeZone: dashboard.timezone, fieldConfigRegistry: properties,
  });
  for (const frame of shown) for (const field of frame.fields) {
    field.config = { ...fieldConfig.defaults, ...field.config, custom: { ...fieldConfig.defaults.custom, ...field.config.custom } };
  }
  cacheFieldDisplayNames(shown);
  return { data, shown, fieldConfig, replaceVariables };
};

const range = { from: dateTime(from), to: dateTime(to), raw: { from: dateTime(from), to: dateTime(to) } };
const context = { eventsScope: "gallery", eventBus: new EventBusSrv() };

const rangeOf = (panel) => {
  const days = /^(\d+)d$/.exec(panel.timeFrom ?? "");
  if (!days) return range;
  const earlier = dateTime(to - 86_400_000 * Number(days[1]));
  return { ...range, from: earlier, raw: { ...range.raw, from: earlier } };
};

const Body = ({ panel, made, width, height }) => {
  const { data, shown, fieldConfig, replaceVariables } = made;
  const empty = shown.every((frame) => frame.length === 0) || !shown.length;
  if (empty && panel.type !== "stat") return <div className="empty">{panel.fieldConfig.defaults.noValue}</div>;
  if (panel.type === "timeseries") {
    const names = shown.length > 12 ? { ...panel.options.legend, showLegend: false } : panel.options.legend;
    return <TimeSeries frames={shown} timeRange={rangeOf(panel)} timeZone={dashboard.timezone} width={width} height={height} legend={names} options={panel.options} />;
  }
  if (panel.type === "table") return <TableNG data={shown[0]} width={width} height={height} noHeader={false} fieldConfig={fieldConfig} timeRange={range} getActions={() => []} enableVirtualization={false} />;
  const values = getFieldDisplayValues({
    fieldConfig, reduceOptions: panel.options.reduceOptions, replaceVariables, theme, data: shown, timeZone: dashboard.timezone, sparkline: false,
  });
  if (panel.type === "stat") {
    return <VizRepeater getValues={() => values} width={width} height={height} source={data} itemSpacing={3} autoGrid orientation="auto" renderCounter={0}
      renderValue={({ value, width, height, count }) => <BigValue value={value.display} count={count} width={width} height={height}
        theme={theme} colorMode={panel.options.colorMode} graphMode="none" justifyMode="auto" textMode={panel.options.textMode} />} />;
  }
  return <VizRepeater getValues={() => values} width={width} height={height} source={data} itemSpacing={8} orientation="horizontal" renderCounter={0} getAlignmentFactors={getDisplayValueAlignmentFactors} minVizHeight={16} maxVizHeight={40}
    renderValue={({ value, width, height, alignmentFactors }) => <BarGauge value={value.display} width={width} height={height} theme={theme} field={value.field}
      orientation="horizontal" displayMode={panel.options.displayMode} itemSpacing={8} lcdCellWidth={12} showUnfilled={panel.options.showUnfilled !== false} alignmentFactors={alignmentFactors} valueDisplayMode={panel.options.valueMode} namePlacement="auto" />} />;
};

class Caught extends React.Component {
  state = { error: null };
  static getDerivedStateFromError(error) { return { error }; }
  componentDidCatch(error) { window.FAILED.push(`${this.props.title}: ${error.stack.slice(0, 300)}`); }
  render() { return this.state.error ? <div className="empty">{String(this.state.error)}</div> : this.props.children; }
}

const Dashboard = ({ made }) => {
  let top = 0;
  const boxes = dashboard.panels.map((panel) => {
    const { x, y, w, h } = panel.gridPos;
    const box = phone
      ? { left: 0, top, width: width - GAP, height: (panel.type === "row" ? 1 : h) * (ROW + GAP) - GAP }
      : { left: x * COLUMN, top: y * (ROW + GAP), width: w * COLUMN - GAP, height: h * (ROW + GAP) - GAP };
    top += box.height + GAP;
    return [panel, box];
  });
  const height = Math.max(...boxes.map(([, box]) => box.top + box.height));
  return <div id="dashboard" style={{ position: "relative", width, height: height + GAP, padding: 0 }}>
    {boxes.map(([panel, box]) => <div key={panel.id} style={{ position: "absolute", ...box }}>
      {panel.type === "row" ? <h2>{panel.title}</h2>
        : <PanelChrome title={panel.title} description={panel.description} width={box.width} height={box.height} padding={panel.type === "table" ? "none" : "md"}>
          {(w, h) => <Caught title={panel.title}><PanelContextProvider value={context}><Body panel={panel} made={made[panel.id]} width={w} height={h} /></PanelContextProvider></Caught>}
        </PanelChrome>}
    </div>)}
  </div>;
};

window.FAILED = [];
window.addEventListener("error", (event) => window.FAILED.push(String(event.message)));
const draw = async () => {
  const made = {};
  for (const panel of dashboard.panels) if (panel.type !== "row") made[panel.id] = await framesOf(panel);
  window.SHAPES = Object.fromEntries(Object.entries(made).map(([id, { shown }]) => [id, shown.map((frame) => frame.fields.map((field) => `${field.name}:${field.values.length}`))]));
  createRoot(document.getElementById("root")).render(
    <ThemeContext.Provider value={theme}><GlobalStyles /><Dashboard made={made} /></ThemeContext.Provider>,
  );
  setTimeout(() => { window.DRAWN = true; }, 1500);
};
draw().catch((error) => { window.FAILED.push(String(error.stack)); window.DRAWN = true; });
