// What the pages ask of the broker, and what they say when it says no.

/** What every request shows; it stays in this tab. */
let credentials = sessionStorage.getItem("credentials") ?? "";

/** A password of this user, or a token where no user is named. Nothing: nobody. */
export function logIn(user, secret) {
  const basic = () => btoa(String.fromCharCode(...new TextEncoder().encode(`${user}:${secret}`)));
  credentials = user ? `Basic ${basic()}` : secret && `Bearer ${secret}`;
  sessionStorage.setItem("credentials", credentials);
}

export function isLoggedIn() {
  return credentials !== "";
}

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** A request; an answer that says no is thrown as what it says, unless it is wanted `raw`. */
export async function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  if (credentials) headers.set("Authorization", credentials);
  const answer = await fetch(path, { ...options, headers, cache: "no-store" });
  if (answer.ok || options.raw) return answer;
  const text = await answer.text();
  let detail = text || answer.statusText;
  try {
    detail = JSON.parse(text).detail ?? detail;
  } catch { /* it is no problem+json, and is shown as it is */ }
  throw new Refused(answer.status, detail);
}

export async function json(path, options) {
  return (await ask(path, options)).json();
}

/** A topic or filter as a part of a path: its slashes stay. */
export function inPath(topic) {
  return topic.split("/").map(encodeURIComponent).join("/");
}

/** Calls `begun` when an answer that has no end begins, and `each` with every line of it, until `signal` says stop. */
async function lines(path, signal, begun, each) {
  const headers = { Accept: "application/x-ndjson" };
  const answer = await ask(path, { headers, signal });
  begun();
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) if (part) each(JSON.parse(part));
  }
}

/** Follows a filter; begins again when the connection is lost. Answers how to stop. */
export function follow(filter, every, { event, state }) {
  const control = new AbortController();
  const run = async () => {
    const query = every ? `?every=${every}` : "";
    let wait = 500;
    while (!control.signal.aborted) {
      try {
        await lines(`/realtime/${inPath(filter)}${query}`, control.signal, () => state("following"), (line) => {
          wait = 500;
          event(line);
        });
        state("the broker ended it; trying again …");
      } catch (error) {
        if (control.signal.aborted) return;
        if (error instanceof Refused && error.status < 500) return state(error.message, true);
        state("no connection; trying again …");
      }
      await new Promise((go) => setTimeout(go, wait));
      wait = Math.min(wait * 2, 10_000);
    }
  };
  run();
  return () => control.abort();
}

/** A payload as text, and whether it was any. */
export function payloadOf(message) {
  if (message.payload !== undefined && message.payload !== null) return message.payload;
  return `base64: ${message.payload_base64 ?? ""}`;
}
