/**
 * Talks to the service: one photo a request, repeated while it goes unanswered.
 * Knows nothing of the page.
 */

export const TOP_K = 5;
const MAX_TRIES = 6;
const TIMEOUT_MS = 60_000;
const LONGEST_PAUSE_MS = 20_000;

/** An answer that is no classification. `code` is the service's, or `no_answer`. */
export class Refusal extends Error {
  constructor(code, message, retryAfterMs = 0) {
    super(message);
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }

  /** Whether the same photo may be classified later. */
  get isTemporary() {
    return ["no_answer", "overloaded", "unavailable", "deadline_exceeded"].includes(this.code);
  }
}

/**
 * Classify one photo.
 * Returns {predictions, modelVersion, durationMs, stagesMs}; throws Refusal.
 * `onPause(milliseconds, refusal)` is called before each wait.
 */
export async function classify(photo, key, onPause) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await ask(photo, key);
    } catch (error) {
      if (!(error instanceof Refusal) || !error.isTemporary || attempt === MAX_TRIES) throw error;
      const pauseMs = choosePauseMs(attempt, error.retryAfterMs);
      onPause(pauseMs, error);
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
}

/** Random, so that many pages turned away at once do not come back at once. */
function choosePauseMs(attempt, retryAfterMs) {
  const backoffMs = Math.min(LONGEST_PAUSE_MS, 500 * 2 ** attempt);
  return retryAfterMs + backoffMs * (0.5 + Math.random() / 2);
}

async function ask(photo, key) {
  const startedMs = performance.now();
  // The photo goes as the raw body: its name stays in the browser.
  const response = await send(`run_inference?top_k=${TOP_K}`, {
    method: "POST",
    body: photo,
    headers: { "Content-Type": "application/octet-stream", ...authorization(key) },
  }).catch((error) => refuseUnreadable(photo, error));
  const body = await read(response);
  if (!response.ok) throw refusal(response, body);
  return {
    predictions: body.predictions,
    modelVersion: response.headers.get("X-Model-Version"),
    durationMs: performance.now() - startedMs,
    stagesMs: parseServerTiming(response.headers.get("Server-Timing") ?? ""),
  };
}

/** Returns {state: "ready" | "starting" | "unreachable", modelVersion, message}. */
export async function askState() {
  try {
    const response = await send("readyz", { cache: "no-store" });
    const modelVersion = response.headers.get("X-Model-Version") ?? "unknown";
    return { state: response.ok ? "ready" : "starting", modelVersion };
  } catch {
    return { state: "unreachable", modelVersion: "unknown" };
  }
}

/** Whether the service takes `key`, or no key if it is null. Throws Refusal if it is not there. */
export async function isKeyAccepted(key) {
  // A route that costs nothing and wants a key as classification does.
  const response = await send("v2", { cache: "no-store", headers: authorization(key) });
  return response.status !== 401;
}

/** A request also fails if the browser cannot read the photo: moved, changed, no permission. */
async function refuseUnreadable(photo, error) {
  try {
    await photo.slice(0, 1).arrayBuffer();
  } catch {
    throw new Refusal("unreadable_file", "The browser cannot read this file.");
  }
  throw error;
}

function authorization(key) {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

async function send(path, options) {
  try {
    return await fetch(path, { ...options, signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    throw new Refusal("no_answer", "The service did not answer.");
  }
}

async function read(response) {
  try {
    return await response.json();
  } catch {
    throw new Refusal("no_answer", `The service's answer (status ${response.status}) was cut short.`);
  }
}

function refusal(response, body) {
  const { code, message } = body.error ?? { code: "no_answer", message: "An unknown answer came." };
  const retryAfterMs = 1000 * (Number(response.headers.get("Retry-After")) || 0);
  return new Refusal(code, message, retryAfterMs);
}

/** `parse;dur=1.2, infer;dur=30.1;desc="..."` as {parse: 1.2, infer: 30.1}, milliseconds. */
function parseServerTiming(header) {
  const found = header.matchAll(/(\w+);dur=([\d.]+)/g);
  return Object.fromEntries([...found].map(([, name, ms]) => [name, Number(ms)]));
}
