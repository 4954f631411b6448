// The tree of topics with their last values, and the history of one of them.

import { follow, inPath, json, payloadOf } from "./api.js";
import { chart, clock, sparkline, svg } from "./draw.js";
import * as values from "./values.js";

/** The broker sends the last message of each topic so often; a flood costs the page no more. */
const EVERY_MS = 1000;
const HISTORY_MAX = 600;
const FIELDS_MAX = 12;
const TOPICS_MAX = 10_000;

const tree = document.getElementById("tree");
const note = document.getElementById("topic-note");
let root, stop, chosen, field, dropped;

/** Watches what the form's filter says. */
export function start() {
  document.getElementById("topic-form").addEventListener("submit", (event) => {
    event.preventDefault();
    watch();
  });
  tree.addEventListener("click", (event) => {
    const item = event.target.closest("li");
    if (item) choose(item.node, true);
  });
  tree.addEventListener("keydown", walk);
  tree.addEventListener("focusin", (event) => event.target.closest("li") && roam(event.target));
  addEventListener("resize", () => chosen && showChart());
  values.start((node) => choose(node, false));
  watch();
}

export function watch() {
  stop?.();
  root = { children: new Map(), topics: 0 };
  values.clear();
  [chosen, dropped] = [undefined, 0];
  tree.replaceChildren();
  const filter = document.getElementById("topic-filter").value.trim() || "#";
  stop = follow(filter, EVERY_MS, {
    event: take,
    state: (words, wrong) => {
      note.textContent = words === "following"
        ? "Retained messages, and what is published from now on." : words;
      note.classList.toggle("bad", Boolean(wrong));
    },
  });
}

function take(line) {
  if (line.dropped) {
    dropped += line.dropped;
    note.textContent = `${dropped} messages were lost: this page is too slow, or there are too many topics.`;
    return;
  }
  let node = root;
  const path = line.topic.split("/");
  path.forEach((name, depth) => {
    if (node.children.has(name)) {
      node = node.children.get(name);
      return;
    }
    if (root.topics >= TOPICS_MAX) return;
    const child = { name, parent: node, depth, children: new Map(), count: 0, history: new Map() };
    node.children.set(name, child);
    attach(node, child);
    node = child;
  });
  if (node.depth !== path.length - 1) return;
  if (!node.topic) {
    root.topics += 1;
    values.add(node);
  }
  node.topic = line.topic;
  node.message = line;
  node.count += 1;
  remember(node, line);
  refresh(node);
  values.refresh();
}

/** Keeps the numbers of a message: of the payload itself, or of the fields of its object. */
function remember(node, line) {
  const time = Date.parse(line.time);
  for (const [name, value] of numbers(payloadOf(line))) {
    if (!node.history.has(name)) node.history.set(name, []);
    const points = node.history.get(name);
    points.push([time, value]);
    if (points.length > HISTORY_MAX) points.shift();
  }
}

function numbers(text) {
  if (text === "" || text.length > 10_000) return [];
  const value = Number(text);
  if (Number.isFinite(value)) return [["", value]];
  try {
    const object = JSON.parse(text);
    const entries = Object.entries(object ?? {}).filter(([, value]) => Number.isFinite(value));
    return Array.isArray(object) ? [] : entries.slice(0, FIELDS_MAX);
  } catch {
    return [];
  }
}

/** Puts what the log has of a topic in front of what was seen; where nothing is recorded, nothing. */
async function recall(node) {
  node.asked = true;
  const seen = new Set([...node.history.values()].flat().map(([time]) => time));
  for (const { stream } of await json("/streams").catch(() => [])) {
    const path = `/latest/${inPath(node.topic)}?n=${HISTORY_MAX}&stream=${encodeURIComponent(stream)}`;
    const { records } = await json(path).catch(() => ({ records: [] }));
    const old = records.filter((record) => !seen.has(Date.parse(record.time)));
    for (const record of old) remember(node, record);
  }
  for (const points of node.history.values()) points.sort(([a], [b]) => a - b);
  refresh(node);
}

/** Shows a new child where its parent is open, in its place. */
function attach(parent, child) {
  const list = parent === root ? tree : parent.list;
  if (!list) return open(parent.item) && mark(parent);
  const after = [...parent.children.values()].filter((other) => other.item && other.name > child.name);
  const first = after.sort((a, b) => (a.name < b.name ? -1 : 1))[0];
  list.insertBefore(item(child), first?.item ?? null);
  mark(parent);
}

function open(item) {
  return item !== undefined;
}

/** A node with children says whether they are shown. */
function mark(node) {
  if (node.item && node.children.size && !node.item.hasAttribute("aria-expanded")) {
    node.item.setAttribute("aria-expanded", "false");
  }
}

function item(node) {
  const element = document.createElement("li");
  element.setAttribute("role", "treeitem");
  element.tabIndex = tree.querySelector("[tabindex='0']") ? -1 : 0;
  element.node = node;
  const row = document.createElement("div");
  row.className = "node";
  row.style.paddingLeft = `${0.9 + node.depth * 1.1}rem`;
  const [name, count, last] = ["name", "count", "last"].map((className) => {
    const part = document.createElement("span");
    part.className = className;
    return part;
  });
  const line = svg("svg", { width: 64, height: 14, "aria-hidden": "true" });
  name.textContent = node.name || "(empty)";
  row.append(name, count, last, line);
  element.append(row);
  Object.assign(node, { item: element, row, said: { count, last, line } });
  mark(node);
  if (node.depth < 1 && node.children.size) expand(node, true);
  return element;
}

function refresh(node) {
  if (node.item && node.topic) {
    const { count, last, line } = node.said;
    last.textContent = payloadOf(node.message).slice(0, 200);
    count.textContent = node.count > 1 ? `×${node.count}` : "";
    node.row.classList.remove("fresh");
    requestAnimationFrame(() => node.row.classList.add("fresh"));
    const points = [...node.history.values()][0];
    if (points?.length > 1) {
      const values = points.slice(-60).map(([, value]) => value);
      sparkline(line, values, { fromZero: false, area: false });
    }
  }
  if (node === chosen) showChosen();
}

function expand(node, shown) {
  if (!node.children.size) return;
  if (shown && !node.list) {
    node.list = document.createElement("ul");
    node.list.setAttribute("role", "group");
    const children = [...node.children.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    node.list.append(...children.map(item));
    node.item.append(node.list);
    children.forEach(refresh);
  }
  node.item.setAttribute("aria-expanded", String(shown));
}

function choose(node, toggles) {
  if (toggles && node.children.size) expand(node, node.item.getAttribute("aria-expanded") !== "true");
  chosen?.item?.removeAttribute("aria-selected");
  if (chosen !== node) field = undefined;
  if (node.topic && !node.asked) recall(node);
  chosen = node;
  // What stands in the table may be closed in the tree.
  node.item?.setAttribute("aria-selected", "true");
  if (node.item) roam(node.item);
  showChosen();
}

/** One item can be reached with Tab; the arrows go on from there. */
function roam(item) {
  tree.querySelectorAll("[tabindex='0']").forEach((other) => (other.tabIndex = -1));
  item.closest("li").tabIndex = 0;
}

function walk(event) {
  const item = event.target.closest("li");
  if (!item) return;
  const shown = [...tree.querySelectorAll("li")].filter((li) => li.offsetParent !== null);
  const at = shown.indexOf(item);
  const expanded = item.getAttribute("aria-expanded");
  const moves = {
    ArrowDown: () => shown[at + 1],
    ArrowUp: () => shown[at - 1],
    Home: () => shown[0],
    End: () => shown.at(-1),
    ArrowRight: () => (expanded === "false" ? expand(item.node, true) : expanded && shown[at + 1]),
    ArrowLeft: () => (expanded === "true" ? expand(item.node, false) : item.node.parent.item),
    Enter: () => choose(item.node, true),
    " ": () => choose(item.node, true),
  };
  if (!moves[event.key]) return;
  event.preventDefault();
  moves[event.key]()?.focus();
}

function showChosen() {
  const { message, topic, count } = chosen;
  document.getElementById("topic-name").textContent = topic ?? "(nothing was published to it)";
  const value = document.getElementById("topic-value");
  value.hidden = !message;
  if (!message) {
    document.getElementById("topic-facts").textContent = `${chosen.children.size} below it`;
    document.getElementById("topic-fields").replaceChildren();
    document.getElementById("topic-chart").replaceChildren();
    return;
  }
  const retained = message.retain ? " · retained" : "";
  document.getElementById("topic-facts").textContent =
    `${clock(Date.parse(message.time))} · QoS ${message.qos}${retained} · seen ${count} times`;
  value.textContent = pretty(payloadOf(message));
  showFields();
  showChart();
}

function showFields() {
  const names = [...chosen.history.keys()];
  if (!names.includes(field)) field = names[0];
  const buttons = names.length > 1 ? names : [];
  document.getElementById("topic-fields").replaceChildren(...buttons.map((name) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name || "payload";
    button.setAttribute("aria-pressed", String(name === field));
    button.addEventListener("click", () => {
      field = name;
      showChosen();
    });
    return button;
  }));
}

function showChart() {
  const points = chosen.history.get(field) ?? [];
  chart(document.getElementById("topic-chart"), points, `History of ${chosen.topic} ${field ?? ""}`);
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
