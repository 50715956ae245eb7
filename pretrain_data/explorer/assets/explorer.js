"use strict";
// Four views over the server's answers: search, one document's way, a cluster, a rule tried.

const ask = async (name, asked) => {
  const reply = await fetch(`${name}?${new URLSearchParams(asked)}`);
  if (!reply.ok) throw new Error(`${reply.status}`);
  const found = await reply.json();
  if (found.error && name !== "try") throw new Error(found.error);
  return found;
};
const go = (view, value = "") => { location.hash = `${view}=${encodeURIComponent(value)}`; };
const link = (view, value, label = value) => el("a", { href: `#${view}=${encodeURIComponent(value)}` }, el("code", {}, label));
const text = (key, head, show) => ({ key, head, text: true, show: show || ((v) => v ?? "") });
const clip = (text, most) => text.length > most ? text.slice(0, most - 1) + "…" : text;
const fixed = (key, head, digits) => ({ key, head, show: (v) => number(v, digits) });
const pieces = (changes) => el("pre", { dir: "auto" }, changes.map(([mark, part]) =>
  mark === "=" ? part : el(mark === "-" ? "del" : "ins", {}, part)));

function searchForm(place) {
  const fields = {}, given = new URLSearchParams(decodeURIComponent(location.hash.split("=").slice(1).join("=")));
  const field = (key, label, input) => { fields[key] = input; input.setAttribute("name", key); return el("label", {}, label, input); };
  const select = (values, value) => { const made = el("select", {}, el("option", { value: "" }, t("all")), values.map((v) => el("option", { value: v }, v))); made.value = value || ""; return made; };
  const fate = (value) => { const made = el("select", {}, ["dropped", "kept"].map((v) => el("option", { value: v }, t(v)))); made.value = value || "dropped"; return made; };
  const typed = (key) => el("input", { type: "search", value: given.get(key) || "" });
  const form = el("form", { class: "choices", submit: (event) => {
    event.preventDefault();
    const asked = Object.fromEntries(Object.entries(fields).map(([k, f]) => [k, f.value]).filter(([k, v]) => v && (k !== "fate" || v === "kept")));
    go("search", new URLSearchParams(asked).toString());
  } }, field("id", "doc_id", typed("id")), field("url", "URL", typed("url")), field("text", t("text_part"), typed("text")),
    field("stage", t("stage"), select(data.stages, given.get("stage"))), field("fate", t("side"), fate(given.get("fate"))),
    field("rule", t("rule"), select([...new Set(Object.values(data.rules).flat())], given.get("rule"))), field("cluster", t("cluster"), typed("cluster")),
    el("button", { type: "submit" }, t("search")));
  place.append(form);
  return Object.fromEntries(given);
}

async function search(place) {
  const asked = searchForm(place), found = await ask("search", asked);
  place.append(el("p", { class: "quiet" }, t("found_n", { n: number(found.rows.length), most: number(found.most) })),
    table([text("doc_id", "doc_id", (id) => link("document", id, id.slice(0, 12))), text("stage", t("stage")), text("rule", t("rule")), fixed("value", t("value"), 4),
      fixed("threshold", t("threshold"), 4), text("url", "URL"), text("title", t("title")), text("text", t("text_part"))], found.rows, { filter: true }));
}

function columns(of) {
  const rows = Object.entries(of).flatMap(([name, value]) => value && typeof value === "object" && !Array.isArray(value)
    ? Object.entries(value).map(([k, v]) => ({ name: `${name}.${k}`, value: v })) : [{ name, value: Array.isArray(value) ? JSON.stringify(value) : value }]);
  return table([text("name", t("column")), text("value", t("value"), (v) => typeof v === "number" ? number(v, 5) : String(v ?? ""))], rows.filter((r) => r.value !== null));
}

async function documentWay(place, id) {
  const found = await ask("document", { id });
  place.append(el("h2", {}, el("code", {}, id)));
  if (!found.steps.length) place.append(el("p", {}, t("not_found")));
  const seen = new Map();
  for (const step of found.steps) {
    const d = step.decision, cluster = step.columns?.cluster_id;
    // What this stage added or changed; signals and the rest are in the table below it.
    const fresh = Object.entries(step.columns ?? {}).filter(([k, v]) => v !== null && typeof v !== "object" && seen.get(k) !== v && !k.startsWith("signals.") && k !== "doc_id");
    Object.entries(step.columns ?? {}).forEach(([k, v]) => seen.set(k, v));
    place.append(el("section", { class: "card" }, el("div", { class: "head" }, el("span", { class: "tag " + step.fate }, t(step.fate)), el("strong", {}, step.stage),
      d ? el("code", {}, d.rule) : null, d && d.value !== null ? `${number(d.value, 5)} ${t("against")} ${number(d.threshold, 5)}` : null,
      d && d.kept_doc_id ? link("cluster", d.kept_doc_id, t("cluster")) : null, cluster && step.stage === "dedup" ? link("cluster", cluster, t("cluster")) : null,
      d?.detail ? el("span", {}, d.detail) : null),
      fresh.length ? el("div", { class: "fresh" }, fresh.slice(0, 40).map(([k, v]) => el("span", {}, el("span", { class: "quiet" }, `${k} `), typeof v === "number" ? number(v, 5) : clip(String(v), 120)))) : null,
      step.changes ? pieces(step.changes) : step.text ? el("pre", { dir: "auto" }, step.text) : null,
      step.columns ? el("details", {}, el("summary", {}, t("columns")), columns(step.columns)) : null));
  }
}

async function cluster(place, id) {
  const found = await ask("cluster", { id });
  place.append(el("h2", {}, `${t("cluster")} `, el("code", {}, id)), el("p", { class: "quiet" }, t("cluster_note")));
  place.append(el("div", { class: "pair side" }, found.members.map((m, i) => el("div", { class: "card" },
    el("div", { class: "head" }, el("span", { class: "tag " + (i ? "dropped" : "kept") }, t(i ? "dropped" : "kept")), link("document", m.doc_id, m.doc_id.slice(0, 12)),
      m.rule ? el("code", {}, m.rule) : null, m.value === null ? null : number(m.value, 4)),
    m.title ? el("div", { class: "title", dir: "auto" }, m.title) : null, m.url ? el("div", { class: "quiet", style: "overflow-wrap:anywhere" }, m.url) : null,
    m.changes ? pieces(m.changes) : el("pre", { dir: "auto" }, m.text)))));
}

async function tryRule(place, rule) {
  const input = el("input", { type: "text", name: "expression", value: rule, size: "60", spellcheck: "false", "aria-label": "drop_if" });
  place.append(el("p", { class: "quiet" }, t("try_note")), el("form", { class: "choices", submit: (event) => { event.preventDefault(); go("try", input.value); } },
    el("label", {}, "drop_if", input), el("button", { type: "submit" }, t("try"))));
  if (!rule) return;
  const found = await ask("try", { rule });
  if (found.error) { place.append(el("div", { class: "warning" }, found.error)); return; }
  place.append(el("p", {}, t("removed_of", { n: number(found.removed), of: number(found.documents), share: percent(found.removed / (found.documents || 1), 2) })));
  const rows = Object.entries(found.attributes).flatMap(([attribute, of]) => of.values.map((v) => ({ attribute: t("attribute." + attribute), divergence: of.divergence, rate: v.documents ? v.removed / v.documents : 0, ...v })));
  if (rows.length) place.append(table([text("attribute", t("column")), text("value", t("value")), { key: "documents", head: t("documents") }, { key: "removed", head: t("removed") },
    { key: "rate", head: t("share_removed"), show: (v) => percent(v, 2) }, fixed("lift", t("lift"), 3), fixed("lift_low", "95 % ≥", 3), fixed("lift_high", "95 % ≤", 3), fixed("divergence", t("divergence"), 4)], rows, { filter: true }));
  if (found.examples.length) place.append(el("h3", {}, t("near_threshold")), table([text("side", t("side"), t), text("doc_id", "doc_id", (id) => link("document", id, id.slice(0, 12))), fixed("value", t("value"), 4), fixed("threshold", t("threshold"), 4)], found.examples));
}

const VIEWS = { search, document: documentWay, cluster, try: tryRule };
let turn = 0;
async function render() {
  const mine = ++turn, [name, ...rest] = location.hash.slice(1).split("=");
  const view = VIEWS[name] ? name : "search", place = el("main", {});
  document.documentElement.lang = state.lang === "zh" ? "zh-CN" : state.lang;
  document.documentElement.dataset.theme = state.theme;
  const set = (key, value) => () => { state[key] = value; remembered(key, value); render(); };
  const [other, dark] = [state.lang === "zh" ? "en" : "zh", state.theme === "dark"];
  const head = el("header", {}, el("div", { class: "bar" }, el("strong", {}, `pretrain_data · ${data.workspace}`),
    el("button", { id: "language", type: "button", lang: other, click: set("lang", other) }, other === "zh" ? "中文" : "English"),
    el("button", { id: "theme", type: "button", click: set("theme", dark ? "light" : "dark") }, t(dark ? "light" : "dark"))),
  el("nav", {}, el("a", { href: "#search=" }, t("search")), data.stages.includes("rules") ? el("a", { href: "#try=" }, t("try_rule")) : null));
  try {
    let value = "";
    try { value = decodeURIComponent(rest.join("=")); } catch { value = rest.join("="); }
    await VIEWS[view](place, value);
    place.dataset.ready = view;
  } catch (error) {
    place.append(el("div", { class: "warning" }, String(error)));
  }
  if (mine === turn) document.getElementById("page").replaceChildren(head, place);
}
addEventListener("hashchange", render);
render();
