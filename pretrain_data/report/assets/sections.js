"use strict";
// The sections of the report, top to bottom, and the switches of language and theme.

const text = (key, head, show) => ({ key, head, text: true, show: show || ((v) => v ?? "") });
const share = (key, head) => ({ key, head, show: (v) => percent(v, 2) });
const fixed = (key, head, digits) => ({ key, head, show: (v) => number(v, digits) });
const stageName = (name) => known("stage", name) === name ? name : `${name} · ${known("stage", name)}`;

function overview() {
  const first = data.stages[0], last = data.stages.at(-1);
  if (!first) return el("p", {}, t("nothing_yet"));
  const seconds = data.stages.reduce((sum, s) => sum + s.seconds, 0);
  const tiles = [
    [number(first.documents_in), t("documents_in")],
    [number(last.documents), t("documents_out")],
    [percent(last.documents / (first.documents_in || 1)), t("documents_kept")],
    last.tokens ? [compact(last.tokens), t("tokens_out")] : [compact(last.chars), t("chars_out")],
    [duration(seconds), t("wall_time")],
  ];
  if (data.hourly_price) tiles.push([number(data.hourly_price * seconds / 3600, 2), t("cost")]);
  const warnings = data.stages.flatMap((s) => s.warnings.map((w) => el("div", { class: "warning" }, `${s.stage}: ${w}`)));
  return [el("div", { class: "tiles" }, tiles.map(([n, label]) => el("div", { class: "tile" }, el("b", {}, n), el("span", {}, label)))), warnings];
}

function funnel() {
  const documents = (s) => ({ entering: s.documents_in, kept: s.documents, dropped: s.dropped });
  const tokens = (s) => ({ entering: s.tokens_kept + s.tokens_dropped, kept: s.tokens_kept, dropped: s.tokens_dropped });
  const place = el("div");
  // An order repeats documents: what enters the export is told apart from what it writes.
  const ways = data.stages.every((s) => s.tokens_kept !== null) ? ["documents", "tokens"] : ["documents"];
  const chosen = choice(t("width_shows"), ways, (way) => {
    place.replaceChildren(flow(data.stages.filter((s) => way === "documents" || s.stage !== "export"), way === "documents" ? documents : tokens));
    drawAll();
  }, (way) => t(way));
  return [el("p", { class: "quiet" }, t("funnel_note")), el("div", { class: "choices" }, chosen), place, table([
    text("stage", t("stage"), stageName), { key: "documents_in", head: t("in") }, { key: "documents", head: t("kept") },
    { key: "dropped", head: t("dropped") }, { key: "chars", head: t("chars"), show: compact },
    { key: "tokens_kept", head: t("tokens"), show: (v, row) => v === null ? "" : (row.counted ? "" : "≈ ") + compact(v) },
  ], data.stages)];
}

function rules() {
  const place = el("div"), all = "*", dropping = data.rules.filter((r) => r.documents);
  const show = (stage) => {
    const some = dropping.filter((r) => stage === all || r.stage === stage);
    // Those that drop most, in the order of the stages.
    const least = some.map((r) => r.documents).sort((a, b) => b - a).slice(0, 30).at(-1);
    const top = some.filter((r) => r.documents >= least).slice(0, 40);
    place.replaceChildren(bars(top, { name: (r) => narrow() ? r.rule : `${r.stage}: ${r.rule}`, labels: 230, stacked: true, format: number, series: [
      { name: t("alone"), colour: "gone", value: (r) => Math.min(r.alone ?? 0, r.documents) },
      { name: t("with_others"), colour: "gone", opacity: 0.45, value: (r) => r.alone === null ? 0 : r.documents - Math.min(r.alone, r.documents) },
      { name: t("first_only"), colour: "fourth", opacity: 0.7, value: (r) => r.alone === null ? r.documents : 0 }] }));
    drawAll();
  };
  const stages = [...new Set(dropping.map((r) => r.stage))];
  return [el("p", { class: "quiet" }, t("rules_note")),
    stages.length > 1 ? el("div", { class: "choices" }, choice(t("stage"), [all, ...stages], show, (v) => v === all ? t("all") : stageName(v))) : (show(all), null), place,
    table([text("stage", t("stage")), text("rule", t("rule")), { key: "documents", head: t("removed_first") }, share("share", t("share_of_in")),
      { key: "fires", head: t("fires") }, { key: "alone", head: t("alone") }, share("alone_share", t("alone_share")),
      { key: "chars", head: t("chars"), show: compact }], data.rules, { filter: true })];
}

function bias() {
  const audit = data.audit, place = el("div"), tableBox = el("div");
  const order = ["lang", "domain", "source", "format", "length", "host"], all = audit.rules[0]?.attributes || {};
  const attributes = order.filter((a) => all[a] && all[a].values.length > 1);
  if (!attributes.length) return el("p", {}, t("no_bias"));
  const show = (attribute) => {
    const frame = audit.rules[0].attributes[attribute].values.map((v) => v.value);
    const some = audit.rules.slice(0, 28);
    const cells = some.flatMap((rule, y) => {
      const by = new Map(rule.attributes[attribute].values.map((v) => [v.value, v]));
      return frame.map((value, x) => {
        const v = by.get(value), lift = v ? v.lift : 1;
        const level = lift > 0 ? Math.max(-1, Math.min(1, Math.log2(lift) / 1)) : -1;
        return { value: [x, y, level], about: `${rule.rule === "*" ? t("all_rules") : rule.rule}\n${value}: ` +
          (v ? `${number(v.removed)} / ${number(v.documents)} ${t("removed")}\n${t("lift")} ${number(lift, 3)} [${number(v.lift_low, 3)}, ${number(v.lift_high, 3)}]` : "–") };
      });
    });
    place.replaceChildren(heat(some.map((r) => r.rule === "*" ? t("all_rules") : r.rule), frame, cells));
    const flat = audit.rules.flatMap((rule) => rule.attributes[attribute].values.map((v) => ({ rule: rule.rule === "*" ? t("all_rules") : rule.rule,
      divergence: rule.attributes[attribute].divergence, rate: v.documents ? v.removed / v.documents : 0, ...v })));
    tableBox.replaceChildren(table([text("rule", t("rule")), text("value", t("attribute." + attribute)), { key: "documents", head: t("documents") },
      { key: "removed", head: t("removed") }, share("rate", t("share_removed")), fixed("lift", t("lift"), 3), fixed("lift_low", "95 % ≥", 3), fixed("lift_high", "95 % ≤", 3),
      fixed("divergence", t("divergence"), 4)], flat, { filter: true }));
    drawAll();
  };
  return [el("p", { class: "quiet" }, t("bias_note")),
    el("div", { class: "choices" }, choice(t("by"), attributes, show, (a) => t("attribute." + a))), place, el("details", {}, el("summary", {}, t("figures")), tableBox)];
}

function scores() {
  const place = el("div"), found = data.scores;
  const show = (column) => {
    const edge = (i) => number(i / found.bins, 2), x = Array.from({ length: found.bins }, (_, i) => edge(i));
    const rows = found.by[column].map((row) => ({ ...row, documents: row.counts.reduce((a, b) => a + b, 0) }));
    const cells = rows.flatMap((row, y) => row.counts.map((n, i) => ({ n, i, y, share: n / (row.documents || 1), value: row.value })).filter((c) => c.n)
      .map((c) => ({ value: [c.i, c.y, Math.max(0, 1 + Math.log10(c.share) / 3)], about: `${c.value}\n${edge(c.i)} … ${edge(c.i + 1)}: ${number(c.n)} (${percent(c.share, 2)})` })));
    const below = (share) => ({ key: "below_" + share, head: `< ${number(share, 1)}`, show: (v) => percent(v, 2) });
    const flat = rows.map((row) => Object.assign({ ...row }, ...[0.2, 0.4, 0.6, 0.8].map((share) => (
      { ["below_" + share]: row.counts.slice(0, Math.round(share * found.bins)).reduce((a, b) => a + b, 0) / (row.documents || 1) }))));
    place.replaceChildren(spreads(rows.map((row) => `${row.value} (${compact(row.documents)})`), x, cells, t("quality_score")),
      table([text("value", t("attribute." + column)), { key: "documents", head: t("documents") }, ...[0.2, 0.4, 0.6, 0.8].map(below)], flat));
    drawAll();
  };
  return [el("p", { class: "quiet" }, t("scores_note", { n: number(found.documents) })),
    el("div", { class: "choices" }, choice(t("by"), Object.keys(found.by), show, (a) => t("attribute." + a))), place];
}

function dedup() {
  const d = data.dedup, whole = d.curve.at(-1).tokens || 1, inside = d.curve.filter((p) => p.threshold <= 1);
  const marks = [{ xAxis: d.threshold, name: t("chosen", { t: d.threshold }) }];
  // A target beyond all that there is stands at the upper edge: no threshold reaches it.
  if (d.target) marks.push({ yAxis: Math.min(1, d.target / whole), name: `${t("target")} ${percent(d.target / whole)}`, label: { position: "insideEndTop" } });
  const floor = Math.min(...inside.map((p) => p.low / whole), ...(d.target ? [d.target / whole] : []));
  const step = floor > 0.9 ? 0.02 : floor > 0.7 ? 0.05 : floor > 0.4 ? 0.1 : 0.2;
  const chosen = inside.find((p) => Math.abs(p.threshold - d.threshold) < 1e-9);
  const parts = [el("p", { class: "quiet" }, t("dedup_note")), el("div", { class: "pair" },
    el("div", {}, el("h3", {}, t("curve")), lines(inside.map((p) => p.threshold), [
      { name: "", values: inside.map((p) => p.low / whole), hidden: true, stack: "band" },
      { name: "95 %", values: inside.map((p) => (Math.min(p.high, whole) - p.low) / whole), hidden: true, stack: "band", area: 0.18 },
      { name: t("tokens_kept"), colour: "kept", values: inside.map((p) => p.tokens / whole), marks, symbols: inside.length < 60,
        point: chosen && [chosen.threshold, chosen.tokens / whole] }],
    { format: (v) => percent(v, 1), xName: t("threshold"), scale: true, min: Math.max(0, Math.floor(floor / step) * step), max: 1, step })))];
  if (data.clusters) {
    parts[1].append(el("div", {}, el("h3", {}, t("cluster_sizes")), bars(data.clusters.sizes.slice(0, 14), { name: (r) => t("members_n", { n: number(r[0]) }), format: number,
      series: [{ name: t("clusters"), colour: "kept", value: (r) => r[1] }] })));
    parts.push(el("h3", {}, t("largest_clusters")), data.clusters.largest.map((c) => el("details", {}, el("summary", {}, t("members_n", { n: number(c.size) }), " ", el("span", { class: "quiet" }, clip(c.members[0]?.title || c.members[0]?.text || "", 60))),
      c.members.map(card))));
  }
  parts.push(el("details", {}, el("summary", {}, t("figures")), table([fixed("threshold", t("threshold"), 2), { key: "documents", head: t("documents") }, { key: "tokens", head: t("tokens") },
    { key: "low", head: "95 % ≥" }, { key: "high", head: "95 % ≤" }], inside)));
  return parts;
}

function pii() {
  const p = data.pii;
  const rows = p.types.map((r) => ({ ...r, label: known("pii", r.type) }));
  return [el("p", { class: "quiet" }, t("pii_note", { with: number(p.with_spans), of: number(p.documents), boiler: number(p.boilerplate_documents), chars: number(p.boilerplate_chars) })),
    rows.length ? el("div", { class: "pair" },
      bars(rows, { name: (r) => r.label, labels: 190, format: number, series: [{ name: t("found"), colour: "kept", value: (r) => r.spans }] }),
      table([text("label", t("type")), { key: "spans", head: t("found") }, fixed("per_million", t("per_million"), 2)], rows)) : null];
}

function before_after() {
  const place = el("div");
  const order = ["channel", "domain", "lang", "format", "source"];
  const columns = order.filter((c) => data.shares.some((r) => r.column === c));
  const show = (column) => {
    const rows = data.shares.filter((r) => r.column === column), stages = [...new Set(rows.map((r) => r.stage))];
    const [first, last] = [stages[0], stages.at(-1)];
    const sum = (stage) => rows.filter((r) => r.stage === stage).reduce((n, r) => n + r.chars, 0) || 1;
    const of = (stage) => new Map(rows.filter((r) => r.stage === stage).map((r) => [r.value, r.chars / sum(stage)]));
    const [a, b] = [of(first), of(last)];
    const values = [...new Set([...a.keys(), ...b.keys()])].map((value) => ({ value, before: a.get(value) ?? 0, after: b.get(value) ?? 0 })).sort((x, y) => y.before - x.before);
    place.replaceChildren(bars(values.slice(0, 16), { name: (r) => r.value, format: (v) => percent(v, 1), series: [
      { name: t("after_stage", { stage: first }), colour: "fourth", value: (r) => r.before },
      ...(last === first ? [] : [{ name: t("after_stage", { stage: last }), colour: "kept", value: (r) => r.after }])] }),
      table([text("value", t("attribute." + column)), text("stage", t("stage")), { key: "documents", head: t("kept") }, { key: "dropped", head: t("dropped") }, { key: "chars", head: t("chars"), show: compact }], rows));
    drawAll();
  };
  return [el("p", { class: "quiet" }, t("shares_note")), el("div", { class: "choices" }, choice(t("by"), columns, show, (c) => t("attribute." + c))), place];
}

function mixture() {
  const rows = data.mixture, several = new Set(rows.map((r) => r.phase)).size > 1;
  const name = (r) => several ? `${r.phase}: ${r.part}` : r.part;
  return [el("p", { class: "quiet" }, t("mixture_note")), bars(rows, { name, labels: 180, series: [
    { name: t("available"), colour: "fourth", value: (r) => r.available_tokens }, { name: t("wanted"), colour: "fifth", value: (r) => r.wanted_tokens },
    { name: t("given"), colour: "kept", value: (r) => r.given_tokens }] }),
    table([text("phase", t("phase")), text("part", t("part")), { key: "documents", head: t("documents") }, { key: "available_tokens", head: t("available") },
      { key: "wanted_tokens", head: t("wanted") }, { key: "target_tokens", head: t("possible") }, { key: "given_tokens", head: t("given") }, fixed("epochs", t("epochs"), 2)], rows)];
}

function spacing() {
  const rows = data.spread.filter((r) => r.median !== undefined && r.median !== null);
  const series = ["spaced", "plain_shuffle"].map((order, i) => ({ name: t(order), colour: i ? "gone" : "kept", value: (r) => r[order] }));
  const groups = new Map(), several = new Set(rows.map((r) => r.phase)).size > 1;
  for (const r of rows) for (const stat of ["median", "p1", "min"]) {
    const key = `${several ? `${r.phase} · ` : ""}${t("group." + r.kind)} · ${t(stat)}`;
    groups.set(key, { ...(groups.get(key) || { key }), [r.order]: r[stat] });
  }
  return [el("p", { class: "quiet" }, t("spacing_note")), bars([...groups.values()], { name: (r) => r.key, labels: 260, format: (v) => number(v, 3), series }),
    table([text("phase", t("phase")), text("kind", t("groups"), (k) => t("group." + k)), text("order", t("order"), (o) => t(o)), { key: "groups", head: t("groups") },
      fixed("median", t("median"), 3), fixed("p1", t("p1"), 3), fixed("min", t("min"), 4)], data.spread)];
}

function timings() {
  const rows = data.stages.map((s) => ({ ...s, rate: s.seconds ? s.documents_in / s.seconds : null, chars_rate: s.seconds ? s.chars_in / s.seconds / 1e6 : null,
    price: data.hourly_price ? data.hourly_price * s.seconds / 3600 : null }));
  const columns = [text("stage", t("stage"), stageName), fixed("seconds", t("seconds"), 1), fixed("cpu_seconds", t("cpu_seconds"), 1), fixed("rate", t("docs_per_second"), 1), fixed("chars_rate", t("mchars_per_second"), 3)];
  if (data.hourly_price) columns.push(fixed("price", t("cost"), 4));
  return [el("p", { class: "quiet" }, t("timings_note"), data.hourly_price ? null : ` ${t("price_note")}`),
    bars(rows, { name: (r) => r.stage, format: (v) => duration(v), series: [{ name: t("seconds"), colour: "kept", value: (r) => r.seconds }, { name: t("cpu_seconds"), colour: "fifth", value: (r) => r.cpu_seconds }] }),
    table(columns, rows)];
}

function card(s) {
  const against = s.value === null || s.value === undefined ? null
    : `${number(s.value, 4)}` + (s.threshold === null || s.threshold === undefined ? "" : ` ${t("against")} ${number(s.threshold, 4)}`);
  return el("div", { class: "card", "data-stage": s.stage },
    el("div", { class: "head" }, s.side ? el("span", { class: "tag " + s.side }, t(s.side)) : null, s.stage ? el("span", {}, s.stage) : null,
      s.rule ? el("code", {}, s.rule) : null, against ? el("span", {}, against) : null, [s.lang, s.format, s.domain, s.source].filter(Boolean).map((v) => el("span", {}, v)),
      el("code", {}, s.doc_id || "")),
    s.title ? el("div", { class: "title", dir: "auto" }, s.title) : null,
    s.url ? el("div", { class: "quiet", style: "overflow-wrap:anywhere" }, s.url) : null,
    s.detail ? el("div", { class: "quiet", style: "overflow-wrap:anywhere" }, s.detail) : null,
    s.text ? el("pre", { dir: "auto", class: ["code", "latex", "markdown"].includes(s.format) ? "source" : null }, s.text) : null);
}

function documents() {
  const place = el("div"), all = "*", now = { stage: all, side: all, rule: all };
  const unique = (key) => [all, ...new Set(data.samples.map((s) => s[key]).filter(Boolean))];
  const fill = (most = 40) => {
    const rows = data.samples.filter((s) => Object.entries(now).every(([k, v]) => v === all || s[k] === v));
    place.replaceChildren(el("p", { class: "quiet" }, t("shown_of", { n: number(Math.min(most, rows.length)), of: number(rows.length) })), ...rows.slice(0, most).map(card),
      ...(rows.length > most ? [el("button", { type: "button", class: "more", click: () => fill(most + 40) }, t("show_more"))] : []));
  };
  const one = (key, label, name) => choice(label, unique(key), (v) => { now[key] = v; fill(); }, (v) => v === all ? t("all") : name ? name(v) : v);
  return [el("p", { class: "quiet" }, t("samples_note")), el("div", { class: "choices" }, one("stage", t("stage"), stageName), one("side", t("side"), t), one("rule", t("rule"))), place];
}

function comparison() {
  const a = data.against, delta = (rows) => rows.map((r) => ({ ...r, change: r.new - r.old }));
  const columns = (show) => ["old", "new", "change"].map((key) => ({ key, head: t(key), show }));
  return [el("p", { class: "quiet" }, t("against_note", { name: a.workspace })),
    a.configs.length ? el("p", {}, t("configs_differ"), ": ", a.configs.map((c) => c.stage).join(", ")) : el("p", {}, t("configs_same")),
    a.settings.length ? table([text("stage", t("stage")), text("key", t("setting")), text("old", t("old")), text("new", t("new"))], a.settings) : null,
    el("h3", {}, t("documents_kept_by_stage")), table([text("stage", t("stage"), stageName), ...columns((v) => number(v))], delta(a.stages)),
    el("h3", {}, t("rules_changed")), a.rules.length ? table([text("stage", t("stage")), text("rule", t("rule")), ...columns((v) => number(v))], delta(a.rules)) : el("p", {}, t("no_change")),
    el("h3", {}, t("shares_changed")), a.shares.length ? table([text("column", t("column"), (c) => t("attribute." + c)), text("value", t("value")), ...columns((v) => percent(v, 2))], delta(a.shares)) : el("p", {}, t("no_change"))];
}

function made() {
  return [el("p", { class: "quiet" }, t("made_note")), table([text("stage", t("stage")), text("code_version", t("code_version")), text("config_hash", t("config_hash")), text("seed", t("seed")), text("started", t("started"))], data.made),
    el("details", {}, el("summary", {}, t("settings")), table([text("stage", t("stage")), text("key", t("setting")), text("value", t("value"))],
      data.made.flatMap((m) => Object.entries(m.config).map(([key, value]) => ({ stage: m.stage, key, value }))), { filter: true }))];
}

const SECTIONS = [
  ["funnel", funnel, () => data.stages.length], ["rules", rules, () => data.rules.some((r) => r.documents)], ["bias", bias, () => data.audit && data.audit.rules.length],
  ["scores", scores, () => data.scores], ["dedup", dedup, () => data.dedup && data.dedup.curve.length > 1], ["pii", pii, () => data.pii], ["shares", before_after, () => data.shares.length],
  ["mixture", mixture, () => data.mixture.length], ["spacing", spacing, () => data.spread.length], ["timings", timings, () => data.stages.length],
  ["samples", documents, () => data.samples.length], ["comparison", comparison, () => data.against], ["made", made, () => data.made.length],
];

function render() {
  document.documentElement.lang = state.lang === "zh" ? "zh-CN" : state.lang;
  document.documentElement.dataset.theme = state.theme;
  charts.splice(0).forEach((one) => one.made && one.made.dispose());
  const shown = SECTIONS.filter(([, , wanted]) => wanted());
  const set = (key, value) => () => { state[key] = value; remembered(key, value); const y = scrollY; render(); scrollTo(0, y); };
  const [other, dark] = [state.lang === "zh" ? "en" : "zh", state.theme === "dark"];
  document.getElementById("page").replaceChildren(
    el("header", {}, el("div", { class: "bar" }, el("strong", {}, `pretrain_data · ${data.workspace}`),
      el("button", { id: "language", type: "button", lang: other, click: set("lang", other) }, other === "zh" ? "中文" : "English"),
      el("button", { id: "theme", type: "button", click: set("theme", dark ? "light" : "dark") }, t(dark ? "light" : "dark"))),
    el("nav", {}, shown.map(([name]) => el("a", { href: "#" + name }, t("title." + name))))),
    el("main", {}, el("h1", {}, t("report_of", { name: data.workspace })), overview(),
      shown.map(([name, make]) => el("section", { id: name }, el("h2", {}, t("title." + name)), make()))),
    el("footer", { class: "bar" }, t("footer")));
  drawAll();
}

let width = 0, printed = null;
new ResizeObserver(() => { const now = document.documentElement.clientWidth; if (now !== width) { width = now; drawAll(); } }).observe(document.documentElement);
addEventListener("beforeprint", () => { printed = state.theme; if (printed !== "light") { state.theme = "light"; render(); } });
addEventListener("afterprint", () => { if (printed && printed !== state.theme) { state.theme = printed; render(); } });
render();
