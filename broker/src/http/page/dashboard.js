// The page's frame: which part is shown, in which light, and by which keys.

import { isLoggedIn, logIn } from "./api.js";
import * as overview from "./overview.js";
import * as publish from "./publish.js";
import * as sessions from "./sessions.js";
import * as tail from "./tail.js";
import { setUpTheme } from "./theme.js";
import * as topics from "./topics.js";

const PARTS = ["overview", "topics", "tail", "publish", "sessions"];

function part() {
  const name = location.hash.slice(1);
  return PARTS.includes(name) ? name : PARTS[0];
}

function showPart() {
  for (const name of PARTS) {
    document.getElementById(name).hidden = name !== part();
    const link = document.querySelector(`nav a[href="#${name}"]`);
    if (name === part()) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  sessions.show(part() === "sessions");
  document.title = `Martlet · ${document.querySelector("nav a[aria-current]").textContent}`;
}

/** How the broker is; `status` is that of the last answer, if there was one. */
function showState(words, good, status) {
  const state = document.getElementById("state");
  state.textContent = words.length > 40 ? `${words.slice(0, 40)} …` : words;
  state.title = words;
  state.className = `pill ${good ? "good" : "bad"}`;
  const alert = document.getElementById("alert");
  alert.hidden = !(status === 401 || status === 403);
  alert.textContent = words;
}

function setUpKeys() {
  addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select");
    const asked = document.querySelector("dialog[open]");
    if (typing || asked || event.ctrlKey || event.metaKey || event.altKey) return;
    const wanted = PARTS[Number(event.key) - 1];
    if (wanted) location.hash = wanted;
    else if (event.key === "/") focusFilter(event);
    else if (event.key === "?") document.getElementById("keys").showModal();
    else if (event.key === "t") document.getElementById("theme").click();
  });
}

function focusFilter(event) {
  const input = document.getElementById(part()).querySelector("[data-search]");
  if (!input) return;
  event.preventDefault();
  input.select();
}

function setUpLogin() {
  const dialog = document.getElementById("login");
  const button = document.getElementById("who");
  const say = () => (button.textContent = isLoggedIn() ? "Logged in" : "Log in");
  say();
  button.addEventListener("click", () => dialog.showModal());
  dialog.addEventListener("close", () => {
    if (dialog.returnValue !== "use") return;
    const [user, secret] = ["user", "secret"].map((id) => document.getElementById(id).value.trim());
    logIn(user, secret);
    say();
    topics.watch();
    overview.again();
  });
}

setUpTheme();
setUpKeys();
setUpLogin();
for (const room of [topics, tail, publish, sessions]) room.start();
overview.start(showState);
addEventListener("hashchange", showPart);
showPart();
