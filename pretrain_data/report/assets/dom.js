"use strict";
// Elements, numbers and tables. All text is set as text; nothing here reads markup.

const data = JSON.parse(document.getElementById("data").textContent);
const remembered = (key, value) => {
  try {
    if (value !== undefined) localStorage.setItem("pretrain_data." + key, value);
    return localStorage.getItem("pretrain_data." + key);
  } catch { return null; } // a file opened from disk may have no storage
};
const state = {
  lang: remembered("lang") || ((navigator.language || "").startsWith("zh") ? "zh" : "en"),
  theme: remembered("theme") || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"),
};

const t = (key, values = {}) =>
  (data.words[state.lang][key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
const known = (kind, name) => data.words[state.lang][kind + "." + name] ?? name;

function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

const number = (n, digits = 0) => n === null || n === undefined || Number.isNaN(n) ? "" :
  new Intl.NumberFormat(state.lang, { maximumFractionDigits: digits }).format(n);
const compact = (n) => n === null || n === undefined ? "" :
  new Intl.NumberFormat(state.lang, { notation: "compact", maximumSignificantDigits: 3 }).format(n);
const percent = (n, digits = 1) => n === null || n === undefined ? "" :
  new Intl.NumberFormat(state.lang, { style: "percent", maximumFractionDigits: digits }).format(n);
const duration = (s) => s >= 5400 ? `${number(s / 3600, 1)} ${t("hours")}` : s >= 90 ? `${number(s / 60, 1)} ${t("minutes")}` : `${number(s, 1)} ${t("secs")}`;

const narrow = () => document.documentElement.clientWidth < 640;

// table([{key, head, show, text}], rows): sorts by a click on a head, filters by what is typed.
function table(columns, rows, options = {}) {
  let shownRows = rows, by = null, down = true;
  const body = el("tbody");
  const shownAs = (column, row) => column.show ? column.show(row[column.key], row) : number(row[column.key]);
  const cell = (column, row) => el("td", { class: column.text ? "text" : null, style: column.text ? widest(column) : null }, shownAs(column, row));
  // A column of text is as wide as its longest text up to a bound: names stay whole, long texts break.
  const widths = new Map();
  const widest = (column) => {
    if (!widths.has(column)) {
      const ems = (v) => [...String(v ?? "").slice(0, 60)].reduce((sum, c) => sum + (c > "\u2e80" ? 1 : 0.66), 0);
      widths.set(column, Math.min(narrow() ? 16 : 22, Math.max(3, ...rows.slice(0, 300).map((row) => { const seen = shownAs(column, row); return ems(seen?.textContent ?? seen); }))));
    }
    return `min-width:calc(${widths.get(column).toFixed(1)}em + 1.4rem)`;
  };
  const fill = () => body.replaceChildren(...shownRows.map((row) => el("tr", {}, columns.map((c) => cell(c, row)))));
  const compare = (a, b) => {
    const [x, y] = [a[by], b[by]];
    const empty = (v) => v === null || v === undefined || v === "";
    if (empty(x) || empty(y)) return empty(x) - empty(y);
    const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), state.lang);
    return down ? -order : order;
  };
  const heads = columns.map((column) => {
    const head = el("th", { scope: "col", class: column.text ? "text" : null });
    head.append(el("button", { type: "button", click: () => {
      down = by === column.key ? !down : !column.text;
      by = column.key;
      heads.forEach((h) => h.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      shownRows = [...shownRows].sort(compare);
      fill();
    } }, column.head));
    return head;
  });
  fill();
  const whole = el("div", { class: "scroll", tabindex: "0" }, el("table", {}, el("thead", {}, el("tr", {}, heads)), body));
  if (rows.length < 9 && !options.filter) return whole;
  // What is typed is looked for in the value and in what is shown for it: "1,234", "12 %", a name in Chinese.
  const searched = (column, row) => { const seen = shownAs(column, row); return `${row[column.key] ?? ""} ${seen?.textContent ?? seen ?? ""}`; };
  const input = el("input", { class: "filter", type: "search", placeholder: t("filter"), "aria-label": t("filter"), input: () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const has = (row) => { const all = columns.map((c) => searched(c, row)).join(" ").toLowerCase(); return words.every((w) => all.includes(w)); };
    shownRows = rows.filter(has);
    if (by) shownRows.sort(compare);
    fill();
  } });
  return el("div", {}, input, whole);
}

// A select that calls `changed` with its value, first with the initial one.
function choice(label, values, changed, name = (v) => v) {
  const select = el("select", { change: () => changed(select.value) }, values.map((v) => el("option", { value: v }, name(v))));
  if (values.length) changed(values[0]);
  return el("label", {}, label, select);
}
