// A message of one's own.

import { inPath, json } from "./api.js";

export function start() {
  const field = (name) => document.getElementById(`publish-${name}`);
  document.getElementById("publish-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const said = field("said");
    const query = `qos=${field("qos").value}&retain=${field("retain").checked}`;
    const path = `/push/${inPath(field("topic").value)}?${query}`;
    try {
      const body = field("payload").value;
      const headers = { "Content-Type": "text/plain" };
      const pushed = await json(path, { method: "POST", body, headers });
      said.className = "good";
      said.textContent = `Published ${pushed.durable ? "and on disk " : ""}at ${pushed.time}.`;
    } catch (error) {
      said.className = "bad";
      said.textContent = error.message;
    }
  });
}
