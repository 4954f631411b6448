// The last value of every topic, as a table.

import { payloadOf } from "./api.js";
import { clock } from "./draw.js";
import { cell } from "./overview.js";

const EVERY_MS = 500;
const ROWS_MAX = 500;

const table = document.getElementById("values");
const rows = document.getElementById("value-rows");
const note = document.getElementById("value-note");
let nodes = [], timer, choose;

/** `chosen` is told which node was clicked at. */
export function start(chosen) {
  choose = chosen;
  const buttons = ["tree", "values"].map((name) => document.getElementById(`as-${name}`));
  const show = (wanted) => {
    for (const button of buttons) {
      const is = button === wanted;
      button.setAttribute("aria-pressed", String(is));
      document.getElementById(button.id.slice(3)).hidden = !is;
    }
    draw();
  };
  for (const button of buttons) button.addEventListener("click", () => show(button));
}

export function clear() {
  nodes = [];
  refresh();
}

export function add(node) {
  nodes.push(node);
}

/** Draws the table anew, soon. */
export function refresh() {
  timer ??= setTimeout(draw, EVERY_MS);
}

function draw() {
  clearTimeout(timer);
  timer = undefined;
  if (table.hidden) return;
  nodes.sort((a, b) => (a.topic < b.topic ? -1 : 1));
  rows.replaceChildren(...nodes.slice(0, ROWS_MAX).map(row));
  note.hidden = nodes.length <= ROWS_MAX;
  note.textContent = `The first ${ROWS_MAX} of ${nodes.length} topics: a filter shows others.`;
}

function row(node) {
  const element = document.createElement("tr");
  const topic = cell("", "topic");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "link";
  button.textContent = node.topic;
  button.addEventListener("click", () => choose(node));
  topic.append(button);
  element.append(topic, cell(payloadOf(node.message).slice(0, 200), "last"),
    cell(clock(Date.parse(node.message.time)), "time"));
  return element;
}
