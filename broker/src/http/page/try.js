// A page to try every path on, made from the description of them.

import { ask, json, logIn } from "./api.js";
import { setUpTheme } from "./theme.js";

/** A stream has no end: this much of it is shown. */
const SHOWN_MAX = 20_000;

function element(name, className, content = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = content;
  return made;
}

/** One path: what it does, a field for each parameter, and what it answers. */
function operation(method, path, about) {
  const article = element("article", "operation");
  const title = element("h3", "");
  title.append(element("span", "pill", method.toUpperCase()), ` ${path}`);
  article.append(title, element("p", "quiet about", [about.summary, about.description].join(" ")));
  const form = element("form", "row");
  const inputs = (about.parameters ?? []).map((parameter) => field(form, parameter));
  const body = about.requestBody ? bodyField(form, about.requestBody) : undefined;
  const button = element("button", "", "Try");
  form.append(button);
  const said = element("pre", "");
  said.hidden = true;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(method, path, { inputs, body, said, button });
  });
  article.append(form, said);
  return article;
}

function field(form, parameter) {
  const label = element("label", "grow", parameter.name);
  const input = document.createElement("input");
  input.placeholder = parameter.schema?.default ?? "";
  input.title = parameter.description ?? "";
  input.required = Boolean(parameter.required);
  label.append(input);
  form.append(label);
  return { parameter, input };
}

function bodyField(form, requestBody) {
  const label = element("label", "grow", "Body");
  const area = document.createElement("textarea");
  area.rows = 3;
  label.append(area);
  const kind = document.createElement("select");
  kind.append(...Object.keys(requestBody.content).map((type) => new Option(type)));
  const kinds = element("label", "", "Content-Type");
  kinds.append(kind);
  form.append(label, kinds);
  return { area, kind };
}

let running;

async function attempt(method, path, { inputs, body, said, button }) {
  if (running) {
    running.abort();
    running = undefined;
    return;
  }
  running = new AbortController();
  button.textContent = "Stop";
  const query = new URLSearchParams();
  for (const { parameter, input } of inputs) {
    const inPath = input.value.split("/").map(encodeURIComponent).join("/");
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, inPath);
    else if (input.value !== "") query.set(parameter.name, input.value);
  }
  const headers = new Headers();
  if (body) headers.set("Content-Type", body.kind.value);
  said.hidden = false;
  said.textContent = "…";
  try {
    const url = query.size ? `${path}?${query}` : path;
    const options = { method, headers, signal: running.signal, body: body?.area.value };
    await print(await ask(url, { ...options, raw: true }), said);
  } catch (error) {
    if (error.name !== "AbortError") said.textContent += `\n${error.message}`;
  }
  running = undefined;
  button.textContent = "Try";
}

async function print(answer, said) {
  const head = `${answer.status} ${answer.statusText} · ${answer.headers.get("Content-Type") ?? ""}\n\n`;
  let text = "";
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    text = (text + (value ?? "")).slice(-SHOWN_MAX);
    said.textContent = head + (done ? pretty(text) : text);
    if (done) return;
  }
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

setUpTheme();
document.getElementById("login").addEventListener("submit", (event) => event.preventDefault());
document.getElementById("token").addEventListener("change", (event) => logIn("", event.target.value.trim()));
const spec = await json("/spec");
document.getElementById("about").textContent = spec.info.description;
document.getElementById("version").textContent = `${spec.info.version} · OpenAPI ${spec.openapi}`;
const operations = Object.entries(spec.paths).flatMap(([path, item]) =>
  Object.entries(item).map(([method, about]) => operation(method, path, about)));
document.getElementById("paths").replaceChildren(...operations);
