"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const columns = data.columns, size = columns.path.length, ROW = 26;
const COLOURS = {
  converted: "#2f8f5b", partly: "#7fb069", different: "#d1495b", refused: "#e09f3e", "needs input": "#e6c45c",
  "no network": "#8d99ae", damaged: "#a44a3f", foreign: "#c3cad5", pointer: "#7c8fd6", unreadable: "#6d6875",
  memory: "#9d4edd", time: "#c77dff", crash: "#7b2cbf", bug: "#e5383b",
};
const element = (name, text, className) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
};
// Characters that steer the direction of reading, and controls, are spelled out.
const spelled = (text) => text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
  (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
const text = (name, i) => name === "path" ? columns.path[i] : columns[name].values[columns[name].codes[i]];
const whole = (n) => n === null ? "" : n.toLocaleString("en");
const bytes = (n) => {
  if (n === null) return "";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; n >= 1000 && unit < 4; unit++) n /= 1000;
  return `${n < 10 && unit ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
};
const error = (n) => n === null ? "" : n.toExponential(1);
const targets = Object.keys(columns).filter((name) => name.endsWith("_outcome")).map((name) => name.slice(0, -8))
  .filter((name) => columns[name + "_outcome"].values.some((value) => value));
const shown = [
  { name: "path", title: "file", least: 230, share: 3 },
  { name: "outcome", title: "outcome", least: 118 },
  { name: "bytes", title: "size", least: 84, show: bytes },
  { name: "parameters", title: "parameters", least: 116, show: whole },
  { name: "multiply_adds", title: "multiply-adds", least: 136, show: whole },
  { name: "input", title: "input", least: 110, share: 1 },
  ...targets.flatMap((name) => [
    { name: name + "_outcome", title: name, least: 96 },
    { name: name + "_max_error", title: "error", least: 78, show: error },
  ]),
  { name: "seconds", title: "seconds", least: 84, show: (n) => n === null ? "" : n.toFixed(2) },
  { name: "peak_mb", title: "peak MB", least: 88, show: (n) => n ? Math.round(n).toString() : "" },
  { name: "error", title: "why not", least: 150, share: 2 },
];
const widths = shown.map(({ least, share }) => share ? `minmax(${least}px, ${share}fr)` : `${least}px`);
document.documentElement.style.setProperty("--widths", widths.join(" "));
document.documentElement.style.setProperty("--least", `${shown.reduce((total, { least }) => total + least, 0)}px`);

// The order is sorted by numbers only: texts come with their place in the alphabet, paths are sorted already.
const keys = {};
const keyOf = (name) => keys[name] ??= name === "path" ? Float64Array.from({ length: size }, (_, i) => i)
  : Float64Array.from(columns[name].codes ? columns[name].codes.map((c) => columns[name].values[c] === "" ? NaN : c)
    : columns[name], (n) => n === null ? NaN : n);
const state = { sort: "path", down: false, outcome: null, needle: "", selected: -1 };
let order = Uint32Array.from({ length: size }, (_, i) => i), view = order;

const sortRows = () => {
  const key = keyOf(state.sort), sign = state.down ? -1 : 1;
  order = Uint32Array.from({ length: size }, (_, i) => i);
  order.sort((a, b) => {
    const x = key[a], y = key[b];
    if (x === y) return a - b;
    if (x !== x) return y !== y ? a - b : 1;   // what is not known comes last
    if (y !== y) return -1;
    return sign * (x - y);
  });
};
const haystacks = ["input", "error", "hint", "classes", "refused", "kind", "same_as"];
const filterRows = () => {
  const needle = state.needle.toLowerCase(), code = state.outcome === null ? -1 : columns.outcome.values.indexOf(state.outcome);
  if (!needle && code < 0) { view = order; return; }
  const hits = haystacks.map((name) => columns[name].values.map((value) => needle !== "" && value.toLowerCase().includes(needle)));
  view = order.filter((i) => (code < 0 || columns.outcome.codes[i] === code)
    && (!needle || columns.path[i].toLowerCase().includes(needle) || haystacks.some((name, h) => hits[h][columns[name].codes[i]])));
};

const table = document.getElementById("table"), body = document.getElementById("body"), rows = document.getElementById("rows");
const draw = () => {
  const first = Math.max(0, Math.floor(table.scrollTop / ROW) - 10) & ~1;
  const last = Math.min(view.length, first + Math.ceil(table.clientHeight / ROW) + 22);
  rows.style.transform = `translateY(${first * ROW}px)`;
  rows.replaceChildren(...Array.from({ length: Math.max(0, last - first) }, (_, n) => row(view[first + n])));
};
const row = (i) => {
  const made = element("div", undefined, "row");
  made.setAttribute("role", "row");
  made.dataset.row = i;
  made.setAttribute("aria-selected", i === state.selected);
  for (const { name, show } of shown) {
    const value = show ? show(columns[name][i]) : spelled(text(name, i));
    const cell = element("div", name === "path" ? undefined : value, show ? "number" : name);
    if (name === "path") cell.append(element("bdi", value));
    if (name === "path" || name === "error" || name === "input") cell.title = value;
    if (name === "outcome") {
      const mark = element("span", undefined, "mark");
      mark.style.background = COLOURS[value];
      cell.prepend(mark);
    }
    made.append(cell);
  }
  return made;
};
const update = () => {
  filterRows();
  body.style.height = `${view.length * ROW}px`;
  document.getElementById("count").textContent = `${view.length.toLocaleString("en")} of ${size.toLocaleString("en")} files`;
  document.getElementById("all").hidden = state.outcome === null;
  for (const button of document.querySelectorAll("#legend button")) button.setAttribute("aria-pressed", button.dataset.outcome === state.outcome);
  for (const button of document.querySelectorAll("#head button")) {
    button.setAttribute("aria-sort", button.dataset.name !== state.sort ? "none" : state.down ? "descending" : "ascending");
  }
  table.scrollTop = 0;
  draw();
};
const sortBy = (name, down) => {
  state.down = down ?? (state.sort === name ? !state.down : false);
  state.sort = name;
  sortRows();
  update();
};
const only = (outcome) => {
  state.outcome = state.outcome === outcome ? null : outcome;
  update();
};

const detail = document.getElementById("detail");
const tell = (i) => {
  state.selected = i;
  const list = element("dl"), add = (title, value) => {
    if (value === "" || value === null) return;
    list.append(element("dt", title));
    const place = element("dd");
    place.append(typeof value === "string" ? spelled(value) : value);
    list.append(place);
  };
  add("file", text("path", i));
  for (const [title, name] of [["is", "kind"], ["layers", "classes"], ["refused", "refused"], ["why not", "error"], ["hint", "hint"], ["same as", "same_as"]]) add(title, text(name, i));
  const folder = text("artifacts", i);
  if (folder) {
    const links = element("span");
    for (const name of ["", "row.json", ...(data.reports ? targets.map((target) => target + ".html") : [])]) {
      const link = element("a", name || folder + "/");
      link.href = `${folder}/${name}`;
      links.append(link, "  ");
    }
    add("written", links);
  }
  detail.replaceChildren(list);
  detail.hidden = false;
  draw();
};

for (const { name, title, show } of shown) {
  const button = element("button", title, show ? "number" : "");
  button.type = "button";
  button.dataset.name = name;
  button.setAttribute("role", "columnheader");
  button.addEventListener("click", () => sortBy(name));
  document.getElementById("head").append(button);
}
const counts = new Uint32Array(columns.outcome.values.length);
for (const code of columns.outcome.codes) counts[code]++;
for (const [outcome, meaning] of Object.entries(data.outcomes)) {
  const code = columns.outcome.values.indexOf(outcome);
  if (code < 0) continue;
  const part = element("span");
  part.style.cssText = `flex:${counts[code]};background:${COLOURS[outcome]}`;
  part.title = `${outcome}: ${counts[code].toLocaleString("en")}`;
  part.addEventListener("click", () => only(outcome));
  document.getElementById("bar").append(part);
  const button = element("button"), colour = element("i");
  button.type = "button";
  button.title = meaning;
  button.dataset.outcome = outcome;
  colour.style.background = COLOURS[outcome];
  button.append(colour, outcome, element("b", counts[code].toLocaleString("en")));
  button.addEventListener("click", () => only(outcome));
  const item = element("li");
  item.append(button);
  document.getElementById("legend").append(item);
}
for (const { class: name, files, alone, reason } of data.blockers) {
  const line = element("tr");
  line.append(element("td", spelled(name)), element("td", whole(files), "number"), element("td", whole(alone), "number"), element("td", spelled(reason)));
  document.querySelector("#unlock tbody").append(line);
}
document.getElementById("unlock").hidden = data.blockers.length === 0;
const sum = (name) => columns[name].reduce((total, n) => total + (n ?? 0), 0);
document.getElementById("totals").textContent = `${size.toLocaleString("en")} files, ${bytes(sum("bytes"))}, `
  + `${whole(sum("parameters"))} parameters, ${whole(Math.round(sum("seconds")))} s of work`;
let typing = 0;
document.getElementById("filter").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => { state.needle = event.target.value; update(); }, 80);
});
document.getElementById("all").addEventListener("click", () => only(state.outcome));
rows.addEventListener("click", (event) => {
  const hit = event.target.closest(".row");
  if (hit) tell(Number(hit.dataset.row));
});
let asked = false;
table.addEventListener("scroll", () => {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; draw(); });
});
addEventListener("resize", draw);
sortRows();
update();
