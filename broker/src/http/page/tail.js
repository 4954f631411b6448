// Every message of a filter, as it comes.

import { follow, payloadOf } from "./api.js";
import { clock } from "./draw.js";
import { cell } from "./overview.js";

const ROWS_MAX = 500;

const rows = document.getElementById("tail-rows");
const button = document.getElementById("tail-go");
const note = document.getElementById("tail-note");
let stop, waiting, seen, lost;

export function start() {
  document.getElementById("tail-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (stop) pause("paused");
    else go();
  });
  document.getElementById("tail-clear").addEventListener("click", () => rows.replaceChildren());
  document.getElementById("tail-filter").addEventListener("input", () => stop && pause("paused"));
}

function go() {
  [waiting, seen, lost] = [[], 0, 0];
  button.textContent = "Pause";
  note.textContent = "connecting …";
  stop = follow(document.getElementById("tail-filter").value.trim() || "#", 0, {
    event: (line) => {
      if (!waiting.length) requestAnimationFrame(show);
      waiting.push(line);
      if (waiting.length > ROWS_MAX) waiting.shift();
      if (line.dropped) lost += line.dropped;
      else seen += 1;
    },
    state: (words, wrong) => {
      note.textContent = words;
      note.classList.toggle("bad", Boolean(wrong));
      if (wrong) pause(words);
    },
  });
}

function pause(words) {
  stop?.();
  stop = undefined;
  button.textContent = "Follow";
  note.textContent = words;
}

/** Once for each picture, however many came. */
function show() {
  const fresh = waiting.splice(0).reverse().map(row);
  rows.prepend(...fresh);
  while (rows.rows.length > ROWS_MAX) rows.deleteRow(-1);
  note.textContent = `${seen} came${lost ? `, ${lost} were lost: this page is too slow` : ""}`;
}

function row(line) {
  const element = document.createElement("tr");
  if (line.dropped) {
    element.className = "note";
    const said = cell(`${line.dropped} messages were lost here`, "");
    said.colSpan = 4;
    element.append(said);
    return element;
  }
  element.append(
    cell(clock(Date.parse(line.time)), "time"),
    cell(line.topic, "topic"),
    cell(payloadOf(line).slice(0, 2000), "payload"),
    cell(`${line.qos}${line.retain ? " retained" : ""}`, "time"),
  );
  return element;
}
