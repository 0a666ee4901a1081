/** Wires the page: photos in, a few requests at a time, cards and figures out. */

import { Card } from "./card.js";
import { renderCsv } from "./csv.js";
import { Figures } from "./figures.js";
import { collectPhotos } from "./photos.js";
import { askState, classify, isKeyAccepted } from "./service.js";
import { suffixOf } from "./suffixes.js";

const CONCURRENCY = 5; // a browser holds six connections to a host; one is left for /readyz
const KEY = "densenet-serve key";
const STAND_IN_HIDDEN = "densenet-serve stand-in hidden";
const STATE_PERIOD_MS = { ready: 5_000, starting: 2_000, unreachable: 2_000 };
const STATE_WORDS = { ready: "Ready", starting: "Starting", unreachable: "Not reachable" };
const ANNOUNCE_PERIOD_MS = 5_000;
const RESULTS_FROM = 0.25; // of the window's height: results that begin below it are scrolled to

const element = (id) => document.getElementById(id);

const figures = new Figures();
let cards = [];
let waiting = [];
let leftOut = new Map();
let working = 0;
let done = 0;
let failed = 0;
let locked = false;
let announcedMs = 0;
let shown = null; // the failed photo that was shown last

function addPhotos(photos) {
  const added = photos.map((photo) => new Card(photo, tryAgain));
  element("cards").append(...added.map((card) => card.element));
  const isFirst = !cards.length;
  cards.push(...added);
  enqueue(added);
  if (isFirst && added.length) scrollToResults();
}

/** Only if they begin in the lower part of the window, as they do on a phone. */
function scrollToResults() {
  const progress = element("progress");
  if (progress.getBoundingClientRect().top < window.innerHeight * RESULTS_FROM) return;
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  progress.scrollIntoView({ block: "start", behavior: isCalm ? "instant" : "smooth" });
}

function enqueue(added) {
  waiting.push(...added);
  startWork();
  showProgress();
}

function tryAgain(card) {
  done -= 1;
  failed -= 1;
  card.showNote("Waiting");
  enqueue([card]);
}

function startWork() {
  while (!locked && waiting.length && working < CONCURRENCY) work(waiting.shift());
}

async function work(card) {
  working += 1;
  figures.setBusy(true);
  card.showNote("Classifying …");
  const key = sessionStorage.getItem(KEY);
  try {
    const answer = await classify(card.photo, key, (pauseMs, refusal) =>
      card.showPause(refusal, pauseMs),
    );
    finish(card, () => card.showPredictions(answer.predictions));
    figures.add(answer);
    showModelVersion(answer.modelVersion);
  } catch (refusal) {
    handleRefusal(card, refusal, key);
  }
  working -= 1;
  figures.setBusy(working > 0);
  startWork();
  showProgress();
}

function handleRefusal(card, refusal, key) {
  if (refusal.code === "unauthorized") {
    card.showNote("Waiting for a key");
    if (cards.includes(card)) waiting.unshift(card);
    // Another key may have been given since this request was sent.
    if (key === sessionStorage.getItem(KEY)) askForKey();
  } else {
    finish(card, () => {
      card.showRefusal(refusal);
      failed += 1;
    });
  }
}

/** A card that was cleared while its answer was on the way counts no more. */
function finish(card, show) {
  if (!card.element.isConnected) return;
  show();
  done += 1;
}

function askForKey() {
  if (!locked) {
    const refused = sessionStorage.getItem(KEY) !== null;
    element("key-error").textContent = refused ? "This key is not accepted." : "";
    element("key").setAttribute("aria-invalid", String(refused));
    element("key-form").hidden = false;
    element("key").focus();
  }
  locked = true;
}

function takeKey(event) {
  event.preventDefault();
  sessionStorage.setItem(KEY, element("key").value.trim());
  element("key").value = "";
  element("key-form").hidden = true;
  locked = false;
  startWork();
  checkKey();
}

/** Ask for a key at once if one is needed, and not only when there is a photo to send. */
async function checkKey() {
  const key = sessionStorage.getItem(KEY);
  try {
    if (await isKeyAccepted(key)) return;
  } catch {
    return; // not reachable: asked again when it is
  }
  if (key === sessionStorage.getItem(KEY)) askForKey();
}

function clear() {
  for (const card of cards) card.remove();
  cards = [];
  waiting = [];
  leftOut = new Map();
  shown = null;
  done = 0;
  failed = 0;
  showLeftOut();
  showProgress();
  element("choose").focus();
}

/** Pictures of a folder in formats that the service cannot read, counted by format. */
function leaveOut(names) {
  for (const name of names) {
    const format = suffixOf(name).slice(1).toUpperCase();
    leftOut.set(format, (leftOut.get(format) ?? 0) + 1);
  }
  showLeftOut();
}

function showLeftOut() {
  const counts = [...leftOut].map(([format, count]) => `${count.toLocaleString()} ${format}`);
  element("left-out").hidden = !counts.length;
  element("left-out").textContent = counts.length
    ? `Left out: ${counts.join(", ")}. The service cannot read these; save them as JPEG.`
    : "";
}

function saveCsv() {
  const url = URL.createObjectURL(new Blob([renderCsv(cards)], { type: "text/csv" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = "classes.csv";
  link.click();
  URL.revokeObjectURL(url);
}

/** Each click shows the next failed photo. */
function showFailed() {
  const found = cards.filter((card) => card.refusal);
  shown = found[(found.indexOf(shown) + 1) % found.length];
  shown?.focus();
}

function showProgress() {
  element("progress").hidden = !cards.length;
  element("progress-bar").max = cards.length || 1;
  element("progress-bar").value = done;
  element("save").disabled = !done;
  element("show-failed").hidden = !failed;
  const text = describeProgress();
  element("progress-text").textContent = text;
  announce(text);
  figures.show();
}

function describeProgress() {
  const total = cards.length.toLocaleString();
  const errors = failed ? `, ${failed.toLocaleString()} failed` : "";
  if (done < cards.length) return `${done.toLocaleString()} of ${total} done${errors}`;
  return `${(done - failed).toLocaleString()} of ${total} classified${errors}`;
}

/** To a screen reader: the end of the work, and now and then how far it is. */
function announce(text) {
  const nowMs = performance.now();
  if (done < cards.length && nowMs - announcedMs < ANNOUNCE_PERIOD_MS) return;
  announcedMs = nowMs;
  element("announcement").textContent = cards.length ? text : "";
}

function showModelVersion(modelVersion) {
  if (modelVersion === "unknown") return;
  element("model-version").textContent = modelVersion;
  const isHidden = sessionStorage.getItem(STAND_IN_HIDDEN) !== null;
  element("stand-in").hidden = isHidden || !modelVersion.startsWith("stand-in-");
}

/** Hides the banner in this tab. The header still names the network. */
function hideStandIn() {
  sessionStorage.setItem(STAND_IN_HIDDEN, "yes");
  element("stand-in").hidden = true;
  element("choose").focus();
}

/** Asks for as long as the page is looked at, and at once when it is looked at again. */
async function watchState() {
  await visible();
  const { state, modelVersion } = await askState();
  // Written only on a change: a screen reader speaks whatever is written here.
  if (element("state").dataset.state !== state) {
    element("state").dataset.state = state;
    element("state").textContent = STATE_WORDS[state];
    if (state !== "unreachable") checkKey();
  }
  showModelVersion(modelVersion);
  setTimeout(watchState, STATE_PERIOD_MS[state]);
}

function visible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) =>
    document.addEventListener("visibilitychange", resolve, { once: true }),
  );
}

collectPhotos(element("drop"), [element("choose"), element("camera")], addPhotos, leaveOut);
element("key-form").addEventListener("submit", takeKey);
element("save").addEventListener("click", saveCsv);
element("clear").addEventListener("click", clear);
element("show-failed").addEventListener("click", showFailed);
element("hide-stand-in").addEventListener("click", hideStandIn);
watchState();
