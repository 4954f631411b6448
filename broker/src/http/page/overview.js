// Rates, counts, losses and the disk: asked for every two seconds.

import { json } from "./api.js";
import { bytes, short, sparkline, svg } from "./draw.js";

const EVERY_MS = 2000;
const KEPT = 90;

/** Title, unit, how to get the number from two answers, what to say below it. */
const CARDS = [
  ["Messages in", "/s", rate("publish/messages/received"), total("publish/messages/received")],
  ["Messages out", "/s", rate("publish/messages/sent"), total("publish/messages/sent")],
  ["Bytes in", "/s", rate("bytes/received"), totalBytes("bytes/received"), bytes],
  ["Bytes out", "/s", rate("bytes/sent"), totalBytes("bytes/sent"), bytes],
  ["Clients connected", "", now("clients/connected"), (f) => `of ${short(f["clients/total"])} sessions`],
  ["Subscriptions", "", now("subscriptions/count"),
    (f) => `${short(f["shared_subscriptions/count"])} shared`],
  ["Retained messages", "", now("retained messages/count"), () => "$SYS included"],
  ["Waiting messages", "", (now) => now["store/messages/count"] - now["retained messages/count"],
    (f) => `${bytes(f["store/messages/bytes"])} kept, retained ones included`],
];

const history = CARDS.map(() => []);
let cards, before, timer, tell, lost;

/** Draws the cards and keeps them fresh; `state` is told how the broker is. */
export function start(state) {
  cards = CARDS.map(([title]) => card(title));
  document.getElementById("cards").replaceChildren(...cards.map((card) => card.root));
  [tell, lost] = [state, 0];
  ask();
}

/** Somebody else asks from here on. */
export function again() {
  mayNot = false;
  ask();
}

/** Asks now, and then again and again; less often where nobody answers. */
export async function ask() {
  clearTimeout(timer);
  try {
    const [stats, streams] = await Promise.all([json("/stats"), json("/streams")]);
    show(stats, tell);
    showStreams(streams);
    showCursors(streams.length ? await cursors() : []);
    lost = 0;
  } catch (error) {
    before = undefined;
    tell(error.status ? error.message : "no connection", false, error.status);
    lost += 1;
  }
  clearTimeout(timer);
  timer = setTimeout(ask, Math.min(EVERY_MS * 2 ** lost, 20_000));
}

function show(stats, state) {
  const words = stats.ready ? (stats.durable ? "ready" : "ready, in memory only") : "the store fails";
  state(words, stats.ready, 200);
  document.getElementById("version").textContent = `${stats.version} · up ${duration(stats.uptime_s)}`;
  const seconds = before ? (stats.time_ms - before.time_ms) / 1000 : 0;
  const restarted = before && stats.uptime_s < before.uptime_s;
  CARDS.forEach(([, unit, number, below, write = short], index) => {
    const past = seconds && !restarted ? before.figures : undefined;
    const value = number(stats.figures, past, seconds);
    if (value === undefined) return;
    const { root, said, more, line } = cards[index];
    const kept = history[index];
    kept.push(value);
    if (kept.length > KEPT) kept.shift();
    said.replaceChildren(write(value), small(unit));
    more.textContent = below(stats.figures);
    sparkline(line, kept);
    root.title = `${value}${unit}`;
  });
  showDrops(stats, restarted ? undefined : before, seconds);
  showDisk(stats);
  before = stats;
}

function showDrops(stats, before, seconds) {
  const rows = Object.entries(stats.dropped).filter(([, count]) => count > 0);
  rows.sort(([, a], [, b]) => b - a);
  document.getElementById("no-drops").hidden = rows.length > 0;
  document.getElementById("drops").replaceChildren(...rows.map(([bound, count]) => {
    const row = document.createElement("tr");
    const past = before?.dropped[bound] ?? count;
    const perSecond = seconds ? (count - past) / seconds : 0;
    row.append(cell(bound, "topic"), cell(short(count), "number"), cell(short(perSecond), "number"));
    return row;
  }));
}

/** By stream: the offset that came next, and when that was asked. */
let recorded = new Map();

function showStreams(streams) {
  document.getElementById("streams").hidden = !streams.length;
  const now = performance.now();
  const rows = streams.map(({ stream, first_offset, next_offset, bytes: size, first_time }) => {
    const past = recorded.get(stream);
    const rate = past ? ((next_offset - past.next) * 1000) / (now - past.at) : 0;
    recorded.set(stream, { next: next_offset, at: now });
    const row = document.createElement("tr");
    const since = first_time ? new Date(first_time).toLocaleString() : "";
    row.append(cell(stream, "topic"), cell(short(next_offset - first_offset), "number"),
      cell(short(rate), "number"), cell(bytes(size), "number"), cell(since, "time"));
    return row;
  });
  document.getElementById("stream-rows").replaceChildren(...rows);
}

/** The cursors; they are for admins, so whoever is refused once is not asked again. */
let mayNot = false;

async function cursors() {
  if (mayNot) return [];
  try {
    return await json("/cursors/");
  } catch (error) {
    mayNot = error.status === 403;
    return [];
  }
}

function showCursors(cursors) {
  document.getElementById("cursors").hidden = !cursors.length;
  document.getElementById("cursor-rows").replaceChildren(...cursors.map((cursor) => {
    const { name, stream, filter, position, lag, leases } = cursor;
    const row = document.createElement("tr");
    row.append(cell(name, "topic"), cell(filter ? `${stream}: ${filter}` : stream, ""),
      cell(short(position), "number"), cell(short(lag), "number"), cell(short(leases), "number"));
    return row;
  }));
}

function showDisk(stats) {
  const facts = [
    ["Acknowledged messages", stats.durable ? "are on disk" : "are in memory only"],
    ["The store", stats.ready ? "works" : "fails"],
    ["Commits that failed", short(stats.figures["martlet/store/commits/failed"])],
    ["Damage found at the start", short(stats.figures["martlet/store/damage/count"])],
  ];
  if (stats.disk) {
    facts.push(["In the folder", bytes(stats.disk.used_bytes)]);
    facts.push(["Free", `${bytes(stats.disk.free_bytes)} of ${bytes(stats.disk.size_bytes)}`]);
  }
  const list = document.getElementById("disk");
  list.replaceChildren(...facts.flatMap(([name, value]) => {
    const [term, said] = [document.createElement("dt"), document.createElement("dd")];
    [term.textContent, said.textContent] = [name, value];
    return [term, said];
  }));
}

function card(title) {
  const root = document.createElement("article");
  root.className = "card";
  const heading = document.createElement("h3");
  heading.textContent = title;
  const said = document.createElement("div");
  said.className = "value";
  said.textContent = "–";
  const more = document.createElement("p");
  more.className = "quiet more";
  const line = svg("svg", { "aria-hidden": "true" });
  root.append(heading, said, more, line);
  return { root, said, more, line };
}

export function cell(content, className) {
  const element = document.createElement("td");
  element.textContent = content;
  element.className = className;
  return element;
}

function small(content) {
  const element = document.createElement("small");
  element.textContent = ` ${content}`;
  return element;
}

function rate(name) {
  return (now, past, seconds) => (past ? (now[name] - past[name]) / seconds : undefined);
}

function now(name) {
  return (now) => now[name];
}

function total(name) {
  return (figures) => `${short(figures[name])} since start`;
}

function totalBytes(name) {
  return (figures) => `${bytes(figures[name])} since start`;
}

function duration(seconds) {
  const days = Math.floor(seconds / 86_400);
  if (days) return `${days} d ${Math.floor((seconds % 86_400) / 3600)} h`;
  const hours = Math.floor(seconds / 3600);
  if (hours) return `${hours} h ${Math.floor((seconds % 3600) / 60)} min`;
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min`;
}
