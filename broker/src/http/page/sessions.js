// The sessions, asked for every five seconds while they are looked at.

import { json } from "./api.js";
import { bytes, short } from "./draw.js";
import { cell } from "./overview.js";

const EVERY_MS = 5000;
const PAGE = 100;

const note = document.getElementById("session-note");
const filter = document.getElementById("session-filter");
const state = document.getElementById("session-state");
let from = 0, next, timer;
/** By client id: what it had done when it was last asked for. */
let before = new Map(), asked;

export function start() {
  document.getElementById("session-form").addEventListener("submit", (event) => event.preventDefault());
  for (const input of [filter, state]) input.addEventListener("input", () => turn(0));
  document.getElementById("session-first").addEventListener("click", () => turn(0));
  document.getElementById("session-next").addEventListener("click", () => turn(next));
}

/** Begins or ends asking, as the part is shown or not. */
export function show(shown) {
  clearTimeout(timer);
  if (shown) tick();
}

function turn(at) {
  from = at;
  clearTimeout(timer);
  timer = setTimeout(tick, 200);
}

async function tick() {
  const query = new URLSearchParams({ from, limit: PAGE, matching: filter.value });
  if (state.value) query.set("connected", state.value);
  try {
    const page = await json(`/clients?${query}`);
    draw(page.clients);
    next = page.next;
    document.getElementById("session-next").hidden = next === undefined;
    document.getElementById("session-first").hidden = from === 0;
    note.className = "quiet";
    note.textContent = `${page.clients.length} shown, every 5 s anew`;
  } catch (error) {
    note.className = "bad";
    note.textContent = error.message;
  }
  clearTimeout(timer);
  timer = setTimeout(tick, EVERY_MS);
}

function draw(clients) {
  const now = performance.now();
  const seconds = asked ? (now - asked) / 1000 : 0;
  const rows = clients.map((client) => {
    const past = before.get(client.client_id);
    const rate = (name) => {
      if (!past || !seconds || client[name] < past[name]) return "";
      return short((client[name] - past[name]) / seconds);
    };
    const row = document.createElement("tr");
    const away = client.connected ? client.address : `away since ${new Date(client.away_since).toLocaleString()}`;
    const cells = [
      [client.client_id, "topic"], [client.user ?? "", ""], [away, "time"],
      [short(client.subscriptions), "number"], [short(client.queued), "number"],
      [short(client.unacknowledged), "number"], [short(client.total), "number"],
      [rate("received"), "number"], [rate("sent"), "number"], [short(client.dropped), "number"],
    ];
    row.append(...cells.map(([content, className]) => cell(content, className)));
    row.title = `${bytes(client.bytes)} wait${client.durable ? ", kept on disk" : ""}`;
    return row;
  });
  document.getElementById("session-rows").replaceChildren(...rows);
  before = new Map(clients.map((client) => [client.client_id, client]));
  asked = now;
}
