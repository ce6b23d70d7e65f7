// Mounts one dashboard, given as window.GALLERY, with @grafana/scenes: variables, time range,
// annotations, links and transformations are Grafana's own. The data source and the
// panel plugins are not available as packages, so this file does what they do between a query and the
// components of @grafana/ui, following their documentation.
import "uplot/dist/uPlot.min.css";
import "react-grid-layout/css/styles.css";
import "@grafana/react-data-grid/lib/styles.css";
import React from "react";
import { createRoot } from "react-dom/client";
import { MemoryRouter } from "react-router-dom";
import { from, map } from "rxjs";
import {
  cacheFieldDisplayNames, createTheme, EventBusSrv, FieldType, getDisplayValueAlignmentFactors, getFieldDisplayValues, identityOverrideProcessor,
  PanelPlugin, standardEditorsRegistry, standardFieldConfigEditorRegistry, standardTransformers, standardTransformersRegistry, systemDateFormats, ThemeContext, toDataFrame,
} from "@grafana/data";
import { config, setAppEvents, setDataSourceSrv, setPluginImportUtils, setRunRequest, setTemplateSrv } from "@grafana/runtime";
import {
  ConstantVariable, ControlsLabel, dataLayers, DataSourceVariable, EmbeddedScene, QueryVariable, RuntimeDataSource, SceneControlsSpacer,
  SceneDataLayerSet, SceneDataTransformer, sceneGraph, SceneGridItem, SceneGridLayout, SceneGridRow, SceneQueryRunner, SceneReactObject, SceneRefreshPicker,
  SceneTimePicker, SceneTimeRange, sceneUtils, SceneVariableSet, VariableValueSelectors, VizPanel,
} from "@grafana/scenes";
import { BarGauge, BigValue, GlobalStyles, LinkButton, TimeSeries, ToolbarButton, VizRepeater } from "@grafana/ui";
import { TableNG } from "@grafana/ui/unstable";

const { dashboard, choices, mode, source } = window.GALLERY;
const theme = createTheme({ colors: { mode } });
config.theme2 = theme;
systemDateFormats.update({ // see docs/dashboards.md
  fullDate: "MMM D, YYYY, h:mm:ss A",
  interval: { ...systemDateFormats.interval, second: "h:mm:ss A", minute: "h:mm A", hour: "MMM D, h A", day: "MMM D" },
});
window.FAILED = [];
window.addEventListener("error", (event) => window.FAILED.push(String(event.message)));
window.addEventListener("unhandledrejection", (event) => window.FAILED.push(String(event.reason?.stack ?? event.reason)));

// Setup that Grafana does before it shows a page.
setAppEvents(new EventBusSrv());
const instance = { uid: source, name: "Plumewatch series", type: "influxdb", meta: { id: "influxdb", name: "InfluxDB", info: { logos: {} } } };
setDataSourceSrv({ get: async () => series, getList: () => [instance], getInstanceSettings: () => instance });
setPluginImportUtils({ importPanelPlugin: async (id) => { throw new Error(`no panel ${id}`); }, getPanelPluginFromCache: () => undefined });
setTemplateSrv({ replace: (text) => text, getVariables: () => [], containsTemplate: () => false });
setRunRequest((asked, request) => from(asked.query(request)).pipe(map(({ data, error }) => ({
  state: error ? "Error" : "Done", error, series: data.map(toDataFrame), request, timeRange: request.range,
}))));
standardEditorsRegistry.setInit(() => []);
const transformers = new Map(Object.values(standardTransformers).map((one) => [one.id, one]));
standardTransformersRegistry.setInit(() => [...transformers.values()].map((one) => ({ id: one.id, name: one.name, transformation: async () => one, editor: () => null })));
const extractFields = {
  id: "extractFields", name: "Extract fields", operator: ({ source }) => map((frames) => frames.map((frame) => {
    const pairs = frame.fields.find((one) => one.name === source).values.map((text) => Object.fromEntries(text.split(",").map((pair) => pair.split("="))));
    return { ...frame, fields: [...frame.fields, ...Object.keys(pairs[0] ?? {}).map((name) => ({ name, type: FieldType.string, config: {}, values: pairs.map((one) => one[name]) }))] };
  })),
};
transformers.set("extractFields", extractFields);
const property = (id, path = id, defaultValue = undefined) => ({
  id, path, name: id, defaultValue, editor: () => null, override: () => null, process: identityOverrideProcessor, shouldApply: (field) => id !== "axisLabel" || field.type !== FieldType.time, settings: {}, getItemsCount: () => 1,
});
standardFieldConfigEditorRegistry.setInit(() => ["unit", "decimals", "min", "max", "displayName", "noValue", "links", "mappings", "thresholds", "color", "filterable"].map((id) => property(id)));

// The data source: converts text to frames.
const answered = async (query) => {
  const response = await fetch(`/query?${new URLSearchParams({ q: query })}`);
  const { results: [{ series = [], error }] } = await response.json();
  if (error) { window.FAILED.push(`${error}: ${query}`); throw new Error(error); }
  return series;
};
const filled = (text, { range, scopedVars }) => sceneGraph.interpolate(
  scopedVars.__sceneObject.value.valueOf(), text.replaceAll("$timeFilter", `time >= ${+range.from}ms and time <= ${+range.to}ms`), scopedVars, "regex",
);
const typed = (values) => values.some((v) => typeof v === "string") ? FieldType.string : FieldType.number;
const named = (text, tags, column, measurement) => text
  ? text.replace(/\$tag_(\w+)/g, (_, tag) => tags[tag] ?? "").replace(/\$col/g, column) : `${measurement}.${column}`;
const lines = (target, series) => series.flatMap(({ name, tags = {}, columns, values }) => columns.slice(1).map((column, k) => ({
  refId: target.refId,
  fields: [
    { name: "Time", type: FieldType.time, config: {}, values: values.map((row) => row[0]) },
    { name: "Value", type: typed(values.map((row) => row[k + 1])), values: values.map((row) => row[k + 1]), labels: tags, config: { displayNameFromDS: named(target.alias, tags, column, name) } },
  ],
  length: values.length,
})));
const rows = (target, series) => {
  if (!series.length) return [];
  const all = series.flatMap((one) => one.values.map((row) => ({ row, tags: one.tags ?? {} })));
  const field = (name, values, type = typed(values)) => ({ name, type, config: {}, values });
  return [{
    refId: target.refId, length: all.length,
    fields: [
      field("Time", all.map(({ row }) => row[0]), FieldType.time),
      ...Object.keys(series[0].tags ?? {}).map((tag) => field(tag, all.map(({ tags }) => tags[tag]), FieldType.string)),
      ...series[0].columns.slice(1).map((name, k) => field(name, all.map(({ row }) => row[k + 1]))),
    ],
  }];
};
class Series extends RuntimeDataSource {
  async query(request) {
    try {
      const found = request.targets.map(async (target) => {
        const series = await answered(filled(target.query, request));
        return target.resultFormat === "table" ? rows(target, series) : lines(target, series);
      });
      return { data: (await Promise.all(found)).flat() };
    } catch (error) { return { data: [], error }; }
  }
  async metricFindQuery(query, options) {
    const series = await answered(filled(query, options));
    const tags = /^SHOW/.test(query) ? 1 : series[0]?.columns.length - 1;
    return series.flatMap(({ values }) => values.map((row) => ({ text: String(row[tags]) })));
  }
  async annotationQuery({ annotation, range }) {
    const series = await answered(filled(annotation.query, { range, scopedVars: { __sceneObject: { value: { valueOf: () => window.SCENE } } } }));
    return series.flatMap(({ columns, values }) => values.map((row) => {
      const at = (name) => row[columns.indexOf(name)];
      return { time: at("time"), timeEnd: at(annotation.timeEndColumn) || undefined, isRegion: Boolean(at(annotation.timeEndColumn)), text: at(annotation.textColumn), color: annotation.iconColor };
    }));
  }
}
const series = new Series("influxdb", source);

// The panels.
const Empty = ({ text }) => <div style={{ display: "grid", placeItems: "center", height: "100%", textAlign: "center", color: theme.colors.text.secondary }}>{text || "No data"}</div>;
const isEmpty = ({ series }) => series.every((frame) => frame.length === 0);
const orEmpty = (Panel) => (props) => isEmpty(props.data) ? <Empty text={props.fieldConfig.defaults.noValue} /> : <Panel {...props} />;

const Annotations = ({ builder, events }) => {
  const shown = React.useRef(events), chart = React.useRef(null);
  shown.current = events;
  React.useEffect(() => chart.current?.redraw(), [events]);
  React.useLayoutEffect(() => {
    builder.addHook("ready", (u) => { chart.current = u; u.redraw(); });
    builder.addHook("draw", (u) => {
      const { ctx, bbox } = u;
      ctx.save();
      ctx.beginPath(); ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height); ctx.clip();
      for (const { time, timeEnd, color } of shown.current) {
        const x = u.valToPos(time, "x", true), end = timeEnd ? u.valToPos(timeEnd, "x", true) : x;
        ctx.strokeStyle = ctx.fillStyle = theme.visualization.getColorByName(color);
        ctx.setLineDash([5, 5]); ctx.lineWidth = 2;
        for (const at of new Set([x, end])) { ctx.beginPath(); ctx.moveTo(at, bbox.top); ctx.lineTo(at, bbox.top + bbox.height); ctx.stroke(); }
        ctx.globalAlpha = 0.1; ctx.fillRect(x, bbox.top, end - x, bbox.height); ctx.globalAlpha = 1;
      }
      ctx.restore();
    });
  }, [builder]);
  return null;
};
const eventsOf = (data) => (data.annotations ?? []).flatMap((frame) => {
  const of = (name) => frame.fields.find((field) => field.name === name)?.values ?? [];
  return of("time").map((time, k) => ({ time, timeEnd: of("timeEnd")[k], color: of("color")[k] }));
});
const Chart = orEmpty(({ data, options, width, height, timeRange, timeZone }) => <TimeSeries
  frames={data.series} timeRange={timeRange} timeZone={timeZone} width={width} height={height} legend={options.legend} options={options}>
  {(builder) => <Annotations builder={builder} events={eventsOf(data)} />}
</TimeSeries>);

const displayed = ({ data, options, fieldConfig, replaceVariables, timeZone }) => getFieldDisplayValues({
  fieldConfig, reduceOptions: options.reduceOptions, replaceVariables, theme, data: data.series, timeZone, sparkline: false,
});
const Stat = (props) => <VizRepeater getValues={() => displayed(props)} width={props.width} height={props.height} source={props.data} itemSpacing={3} autoGrid orientation="auto" renderCounter={0}
  renderValue={({ value, width, height, count }) => <BigValue value={value.display} count={count} width={width} height={height} theme={theme} text={props.options.text}
    colorMode={props.options.colorMode} graphMode="none" justifyMode="auto" textMode={props.options.textMode} />} />;
const Bars = orEmpty((props) => <VizRepeater getValues={() => displayed(props)} width={props.width} height={props.height} source={props.data} itemSpacing={8} orientation="horizontal" renderCounter={0}
  getAlignmentFactors={getDisplayValueAlignmentFactors} minVizHeight={props.options.minVizHeight} maxVizHeight={props.options.maxVizHeight}
  renderValue={({ value, width, height, alignmentFactors }) => <BarGauge value={value.display} width={width} height={height} theme={theme} field={value.field} orientation="horizontal"
    displayMode={props.options.displayMode} itemSpacing={8} lcdCellWidth={12} showUnfilled={props.options.showUnfilled !== false} alignmentFactors={alignmentFactors}
    valueDisplayMode={props.options.valueMode} namePlacement={props.options.namePlacement} />} />);

const Table = orEmpty(({ data, width, height, fieldConfig, timeRange, options }) => {
  cacheFieldDisplayNames(data.series);
  return <TableNG data={data.series[0]} width={width} height={height} cellHeight={options.cellHeight} noHeader={false} fieldConfig={fieldConfig} timeRange={timeRange} getActions={() => []} enableVirtualization={false} />;
});

const GRAPH = {
  drawStyle: "line", lineInterpolation: "linear", lineWidth: 1, lineStyle: { fill: "solid" }, fillOpacity: 0, gradientMode: "none", showPoints: "auto", pointSize: 5, barAlignment: 0,
  barWidthFactor: 0.6, axisPlacement: "auto", axisLabel: "", axisColorMode: "text", axisBorderShow: false, axisCenteredZero: false, axisGridShow: true, scaleDistribution: { type: "linear" },
  spanNulls: false, insertNulls: false, hideFrom: { legend: false, tooltip: false, viz: false }, stacking: { mode: "none", group: "A" }, thresholdsStyle: { mode: "off" },
};
const CELLS = { align: "auto", cellOptions: { type: "auto" }, width: undefined, minWidth: undefined, wrapText: false };
const panels = {
  timeseries: [Chart, GRAPH, { mode: "palette-classic" }], stat: [Stat, {}], bargauge: [Bars, {}], table: [Table, CELLS],
};
for (const [pluginId, [Panel, custom, color = { mode: "thresholds" }]] of Object.entries(panels)) {
  const plugin = new PanelPlugin(Panel).useFieldConfig({
    standardOptions: { color: { defaultValue: color }, thresholds: { defaultValue: { mode: "absolute", steps: [{ value: -Infinity, color: "green" }, { value: 80, color: "red" }] } } },
    useCustomConfig: (builder) => Object.entries(custom).forEach(([path, defaultValue]) => builder.addCustomEditor({ ...property(path, path, defaultValue) })),
  });
  plugin.setDataSupport({ annotations: pluginId === "timeseries" });
  if (pluginId === "table") plugin.setNoPadding();
  sceneUtils.registerRuntimePanelPlugin({ pluginId, plugin });
}

// The dashboard.
const variable = (one) => {
  const common = { name: one.name, label: one.label, hide: one.hide };
  if (one.type === "datasource") return new DataSourceVariable({ ...common, pluginId: one.query, value: source, text: instance.name });
  if (one.type === "constant") return new ConstantVariable({ ...common, value: one.query, hide: 2 });
  const chosen = choices[one.name] ?? (one.includeAll ? "$__all" : "");
  return new QueryVariable({
    ...common, datasource: one.datasource, query: one.query, regex: one.regex, refresh: one.refresh, sort: one.sort, isMulti: one.multi, includeAll: one.includeAll, allValue: one.allValue,
    value: one.multi ? [chosen] : chosen, text: one.multi ? ["All"] : chosen,
  });
};
const box = (panel) => {
  const runner = panel.targets && new SceneQueryRunner({ datasource: panel.datasource, queries: panel.targets, minInterval: panel.interval, maxDataPoints: panel.maxDataPoints });
  return new SceneGridItem({
    key: `grid-${panel.id}`, x: panel.gridPos.x, y: panel.gridPos.y, width: panel.gridPos.w, height: panel.gridPos.h,
    body: new VizPanel({
      key: `panel-${panel.id}`, title: panel.title, description: panel.description, pluginId: panel.type, options: panel.options, fieldConfig: panel.fieldConfig ?? { defaults: {}, overrides: [] },
      $timeRange: panel.timeFrom && new SceneTimeRange({ from: `now-${panel.timeFrom}`, to: "now", timeZone: dashboard.timezone }),
      $data: runner && new SceneDataTransformer({ $data: runner, transformations: panel.transformations ?? [] }),
    }),
  });
};
const children = [];
for (const panel of dashboard.panels.flatMap((one) => [one, ...(one.panels ?? [])])) {
  if (panel.type === "row") children.push(new SceneGridRow({ key: `row-${panel.id}`, title: panel.title, x: 0, y: panel.gridPos.y, width: 24, height: 1, isCollapsed: panel.collapsed, children: [] }));
  else children.at(-1).setState({ children: [...children.at(-1).state.children, box(panel)] });
}
const Links = () => (dashboard.links ?? []).map((link) => link.type === "dashboards"
  ? <ToolbarButton key={link.title} icon="bars" isOpen={false}>{link.title}</ToolbarButton>
  : <LinkButton key={link.title} icon="file-alt" size="md" fill="outline" variant="secondary" href={sceneGraph.interpolate(window.SCENE, link.url)}>{link.title}</LinkButton>);
const layers = (dashboard.annotations?.list ?? []).map((query) => new dataLayers.AnnotationsDataLayer({ name: query.name, isEnabled: query.enable, isHidden: Boolean(query.hide), query }));
const controls = [
  new VariableValueSelectors({}), ...layers.filter((layer) => !layer.state.isHidden).map((layer) => new SceneReactObject({ component: () => <div style={{ display: "flex" }}><ControlsLabel label={layer.state.name} /><layer.Component model={layer} /></div> })), new SceneControlsSpacer(), new SceneReactObject({ component: Links }),
  new SceneTimePicker({ isOnCanvas: true }), new SceneRefreshPicker({ refresh: dashboard.refresh, isOnCanvas: true, autoEnabled: false }),
];
window.SCENE = new EmbeddedScene({
  $timeRange: new SceneTimeRange({ from: dashboard.time.from, to: dashboard.time.to, timeZone: dashboard.timezone }),
  $variables: new SceneVariableSet({ variables: dashboard.templating.list.map(variable) }),
  $data: new SceneDataLayerSet({ layers }),
  controls, body: new SceneGridLayout({ isLazy: false, isDraggable: false, isResizable: false, children }),
});

class Caught extends React.Component {
  state = { error: null };
  static getDerivedStateFromError(error) { return { error }; }
  componentDidCatch(error) { window.FAILED.push(String(error.stack).slice(0, 600)); }
  render() { return this.state.error ? String(this.state.error) : this.props.children; }
}
createRoot(document.getElementById("root")).render(
  <ThemeContext.Provider value={theme}><GlobalStyles /><MemoryRouter><Caught>
    <h1 style={{ fontSize: 18, margin: "0 0 8px" }}>{dashboard.title}</h1>
    <window.SCENE.Component model={window.SCENE} />
  </Caught></MemoryRouter></ThemeContext.Provider>,
);

// Wait for all queries, then report what a person would not see: empty panels and cut text.
const isFolded = (one) => Boolean(one) && ((one instanceof SceneGridRow && one.state.isCollapsed) || isFolded(one.parent));
const all = (type) => sceneGraph.findAllObjects(window.SCENE, (one) => one instanceof type && !isFolded(one));
window.settled = () => all(SceneQueryRunner).every((one) => ["Done", "Error"].includes(one.state.data?.state));
window.report = () => ({
  failed: [...window.FAILED, ...all(SceneQueryRunner).filter((one) => one.state.data.state === "Error").map((one) => one.state.data.error?.message)],
  empty: all(VizPanel).filter((one) => one.state.$data && isEmpty(one.state.$data.state.data)).map((one) => one.state.title),
  cut: [...document.querySelectorAll("h2, h6, [role=columnheader], button, a, label")].filter((one) => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflow !== "visible").map((one) => one.textContent),
});
