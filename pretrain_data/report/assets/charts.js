"use strict";
// Charts: Apache ECharts drawing SVG, in the colours of the page. Tooltips are drawn text, never HTML.

const charts = [];
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const palette = () => ["kept", "gone", "third", "fourth", "fifth", "sixth"].map(colour);
const clip = (text, most) => text.length > most ? text.slice(0, most - 1) + "…" : text;
// Line heights are given: the library takes them from the width of a Chinese character, which not every font has.
const LINE = 14;
const pen = document.createElement("canvas").getContext("2d");
const measured = (text, size) => { pen.font = `${size}px ${getComputedStyle(document.body).fontFamily}`; return pen.measureText(text).width; };
// As wide as the longest of the labels, up to a bound.
const fitting = (texts, most) => Math.ceil(Math.min(most, 4 + Math.max(0, ...texts.map((one) => measured(one, narrow() ? 10 : 12)))));
const labelled = (width, lines = 1) => ({ width, overflow: lines > 1 ? "break" : "truncate", lineHeight: narrow() ? 11 : LINE, ...(narrow() ? { fontSize: 10 } : {}) });

function chart(height, option) {
  const box = el("div", { class: "chart", style: `height:${height}px` });
  charts.push({ box, option, made: null });
  return box;
}

function common() {
  return {
    animation: false,
    color: palette(),
    textStyle: { fontFamily: getComputedStyle(document.body).fontFamily, color: colour("ink") },
    aria: { enabled: true },
    tooltip: { renderMode: "richText", confine: true, backgroundColor: colour("raised"), borderColor: colour("line"),
      textStyle: { color: colour("ink"), fontSize: 12 } },
  };
}

const axis = (more = {}) => ({
  axisLine: { lineStyle: { color: colour("line") } },
  axisTick: { show: false },
  splitLine: { lineStyle: { color: colour("line"), opacity: 0.6 } },
  ...more,
  axisLabel: { color: colour("quiet"), hideOverlap: true, ...(more.axisLabel || {}) },
  nameTextStyle: { color: colour("quiet") },
});
const legend = (more = {}) => ({ type: "scroll", top: 0, left: 0, itemWidth: 14, itemHeight: 9, textStyle: { color: colour("ink") },
  pageTextStyle: { color: colour("quiet") }, ...more });

const legendLines = (names) => narrow() ? Math.ceil(names.reduce((sum, one) => sum + 30 + measured(one, 12), 0) / (document.documentElement.clientWidth - 32)) : 1;

function drawAll() {
  for (const one of charts) {
    if (!one.box.isConnected || !one.box.clientWidth) continue;
    if (one.made) one.made.dispose();
    one.made = echarts.init(one.box, null, { renderer: "svg" });
    one.made.setOption({ ...common(), ...one.option() });
  }
}

function bars(rows, { name, series, stacked = false, format = compact, height = 22, labels = 150 }) {
  const names = rows.map(name), width = () => fitting(names, narrow() ? Math.min(labels, 150) : labels);
  const room = series.length > 1 ? 12 + 18 * legendLines(series.map((s) => s.name)) : 6;
  const each = stacked || series.length === 1 ? height : 11 * series.length + 8;
  return chart(Math.max(110, rows.length * each + room + 34), () => ({
    grid: { left: 4, right: 46, top: room, bottom: 4, containLabel: true },
    legend: series.length > 1 ? legend(narrow() ? { type: "plain" } : {}) : undefined,
    tooltip: { ...common().tooltip, trigger: "axis", axisPointer: { type: "shadow" }, valueFormatter: format },
    xAxis: axis({ type: "value", axisLabel: { formatter: format } }),
    yAxis: axis({ type: "category", inverse: true, data: names, splitLine: { show: false },
      axisLabel: { color: colour("ink"), ...labelled(width(), each >= 2 * LINE ? 2 : 1), interval: 0 } }),
    series: series.map((s) => ({ name: s.name, type: "bar", stack: stacked ? "all" : undefined, barMaxWidth: 16, barGap: "10%",
      data: rows.map((row) => s.value(row)), itemStyle: { color: s.colour ? colour(s.colour) : undefined, opacity: s.opacity ?? 1 },
      label: { show: !stacked && !narrow() && series.length < 3, position: "right", formatter: (p) => format(p.value), color: colour("quiet"), fontSize: 11 } })),
  }));
}

function flow(stages, amount) {
  return chart(narrow() ? 480 : 360, () => {
    const nodes = [], links = [];
    stages.forEach((s, i) => {
      const { entering, kept, dropped } = amount(s);
      nodes.push({ name: s.stage, value: entering, itemStyle: { color: colour("kept") } });
      const next = stages[i + 1];
      if (next) links.push({ source: s.stage, target: next.stage, value: kept || 1e-9, lineStyle: { color: colour("kept"), opacity: 0.28 } });
      else { nodes.push({ name: t("out"), value: kept, itemStyle: { color: colour("third") } });
        links.push({ source: s.stage, target: t("out"), value: kept || 1e-9, lineStyle: { color: colour("third"), opacity: 0.3 } }); }
      if (dropped > 0) {
        const gone = `${s.stage} ✕`;
        nodes.push({ name: gone, value: dropped, itemStyle: { color: colour("gone") } });
        links.push({ source: s.stage, target: gone, value: dropped, lineStyle: { color: colour("gone"), opacity: 0.35 } });
      }
    });
    const down = narrow();
    return {
      tooltip: { ...common().tooltip, formatter: (p) => p.dataType === "edge"
        ? `${p.data.source} → ${p.data.target}: ${number(p.data.value)}` : `${p.name}: ${number(p.data.value)}` },
      series: [{ type: "sankey", orient: down ? "vertical" : "horizontal", data: nodes, links, draggable: false, nodeAlign: "left", nodeGap: down ? 22 : 14,
        nodeWidth: 12, layoutIterations: 0, left: down ? 34 : 4, right: down ? 8 : 90, top: down ? 24 : 10, bottom: down ? 30 : 10, emphasis: { focus: "adjacency" },
        label: { color: colour("ink"), fontSize: down ? 10 : 11, lineHeight: LINE, position: down ? "top" : "right", formatter: (p) => `${p.name}${down ? " " : "\n"}${(p.data.value < 1e5 ? number : compact)(p.data.value)}` } }],
    };
  });
}

function heat(rules, values, cell, height = 19) {
  const tall = rules.length * height + 130;
  return chart(tall, () => ({
    grid: { left: 4, right: 12, top: 6, bottom: 58, containLabel: true },
    tooltip: { ...common().tooltip, formatter: (p) => p.data.about },
    xAxis: axis({ type: "category", data: values, splitArea: { show: false }, axisLabel: { rotate: narrow() ? 60 : values.length > 7 ? 40 : 0, interval: 0, hideOverlap: false, ...labelled(fitting(values, 110)) } }),
    yAxis: axis({ type: "category", inverse: true, data: rules, axisLabel: { color: colour("ink"), interval: 0, ...labelled(fitting(rules, narrow() ? 150 : 190)) } }),
    visualMap: { min: -1, max: 1, calculable: false, orient: "horizontal", left: "center", bottom: 0, itemHeight: 140, itemWidth: 12,
      text: [t("favours"), t("removes_more")], textStyle: { color: colour("quiet") }, inRange: { color: [colour("low"), colour("mid"), colour("high")] } },
    series: [{ type: "heatmap", data: cell, itemStyle: { borderColor: colour("paper"), borderWidth: 1 } }],
  }));
}

// Shares from 0.1 % (pale) to 100 % (full) on a logarithmic scale: one row a distribution, one column a bin.
function spreads(rows, bins, cells, xName) {
  return chart(rows.length * 26 + 92, () => ({
    grid: { left: 4, right: 16, top: 6, bottom: 66, containLabel: true },
    tooltip: { ...common().tooltip, formatter: (p) => p.data.about },
    xAxis: axis({ type: "category", data: bins, name: xName, nameLocation: "middle", nameGap: 26, splitArea: { show: false }, splitLine: { show: false } }),
    yAxis: axis({ type: "category", inverse: true, data: rows, splitLine: { show: false }, axisLabel: { color: colour("ink"), interval: 0, ...labelled(fitting(rows, narrow() ? 150 : 230)) } }),
    visualMap: { min: 0, max: 1, calculable: false, orient: "horizontal", left: "center", bottom: 0, itemHeight: 140, itemWidth: 12,
      text: [percent(1), percent(0.001)], textStyle: { color: colour("quiet") }, inRange: { color: [colour("mid"), colour("high")] } },
    series: [{ type: "heatmap", data: cells, itemStyle: { borderColor: colour("paper"), borderWidth: 1 } }],
  }));
}

function lines(x, series, more = {}) {
  return chart(more.height || 280, () => ({
    grid: { left: 4, right: 16, top: series.length > 1 ? 34 : 14, bottom: more.xName ? 24 : 4, containLabel: true },
    legend: series.length > 1 ? legend({ data: series.filter((s) => !s.hidden).map((s) => s.name) }) : undefined,
    tooltip: { ...common().tooltip, trigger: "axis", valueFormatter: more.format || compact },
    xAxis: axis({ type: more.category ? "category" : "value", min: more.category ? undefined : "dataMin", max: more.category ? undefined : "dataMax",
      data: more.category ? x : undefined, name: more.xName, nameLocation: "middle", nameGap: 26, splitLine: { show: false } }),
    yAxis: axis({ type: "value", scale: !!more.scale, axisLabel: { formatter: more.format || compact }, min: more.min, max: more.max, interval: more.step }),
    series: series.map((s) => ({ name: s.name, type: "line", color: s.colour ? colour(s.colour) : undefined, showSymbol: !!s.symbols, symbolSize: 5, smooth: false, silent: !!s.hidden,
      data: more.category ? s.values : x.map((v, i) => [v, s.values[i]]), lineStyle: s.hidden ? { opacity: 0 } : { width: 2 }, stack: s.stack,
      tooltip: s.hidden ? { show: false } : undefined, areaStyle: s.area ? { opacity: s.area, color: s.hidden ? colour("kept") : undefined } : undefined,
      markLine: s.marks ? { symbol: "none", data: s.marks, label: { color: colour("ink"), formatter: "{b}" }, lineStyle: { color: colour("gone"), type: "dashed" } } : undefined,
      markPoint: s.point ? { symbol: "circle", symbolSize: 11, data: [{ coord: s.point }], label: { show: false }, itemStyle: { color: colour("gone") } } : undefined })),
  }));
}
