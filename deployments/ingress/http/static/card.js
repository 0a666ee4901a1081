/** One photo on the page: its thumbnail, then its predictions or what went wrong. */

import { suffixOf } from "./suffixes.js";

const WORDS = {
  unsupported_media_type: "This is not a JPEG, PNG, WebP, GIF or BMP photo.",
  unreadable_file: "The browser cannot read this file. Was it moved or changed?",
  undecodable_image: "This photo is broken and cannot be read.",
  image_too_large: "This photo is too large for the service.",
  request_too_large: "This photo is too large for the service.",
  no_image: "This file is empty.",
  overloaded: "The service is too busy at the moment.",
  unavailable: "The service is not available at the moment.",
  deadline_exceeded: "The service ran out of time for this photo.",
  no_answer: "The service cannot be reached.",
};

const FORMATS = {
  ".heic": "HEIC, the format of iPhones",
  ".heif": "HEIF, the format of iPhones",
  ".avif": "AVIF",
  ".tif": "TIFF",
  ".tiff": "TIFF",
};

const PAUSES = {
  overloaded: "Busy",
  deadline_exceeded: "Out of time",
  unavailable: "Not ready",
  no_answer: "Not reachable",
};

export class Card {
  constructor(photo, onAgain) {
    this.photo = photo;
    this.predictions = null;
    this.refusal = null;
    this.element = copy("card");
    this._find(".name").textContent = photo.name;
    this._find(".name").title = photo.name;
    this._find(".again").setAttribute("aria-label", `Try again: ${photo.name}`);
    this._find(".again").addEventListener("click", () => onAgain(this));
    this._showThumbnail();
  }

  _find(selector) {
    return this.element.querySelector(selector);
  }

  _showThumbnail() {
    const image = this._find("img");
    this._url = URL.createObjectURL(this.photo);
    image.addEventListener("error", () => image.parentElement.classList.add("no-preview"));
    image.src = this._url;
  }

  /** Say what it waits for; also takes back an earlier error. */
  showNote(text) {
    this.refusal = null;
    this._set({ note: text });
  }

  /** Say why it is to be sent again, and when. */
  showPause(refusal, pauseMs) {
    this.showNote(`${PAUSES[refusal.code]}; trying again in ${Math.ceil(pauseMs / 1000)} s`);
  }

  /** `predictions`: [{class_id, class_name, probability}], best first. */
  showPredictions(predictions) {
    this.predictions = predictions;
    this._find(".predictions").replaceChildren(...predictions.map(renderPrediction));
    this._set({ classified: true });
  }

  showRefusal(refusal) {
    this.refusal = refusal;
    this._find(".error-text").textContent = this.explanation;
    this._find(".error-text").title = `${refusal.code}: ${refusal.message}`;
    this._set({ failed: true, again: refusal.isTemporary });
  }

  /** What went wrong, in words. */
  get explanation() {
    return explain(this.refusal, this.photo.name);
  }

  /** Focus the card and scroll to it. */
  focus() {
    this.element.tabIndex = -1;
    this.element.focus({ preventScroll: true });
    this.element.scrollIntoView({ block: "center" });
  }

  _set({ note = "", classified = false, failed = false, again = false }) {
    this.element.classList.toggle("failed", failed);
    this._find(".note").textContent = note;
    this._find(".note").hidden = !note;
    this._find(".predictions").hidden = !classified;
    this._find(".error-text").hidden = !failed;
    this._find(".again").hidden = !again;
  }

  remove() {
    URL.revokeObjectURL(this._url);
    this.element.remove();
  }
}

function explain(refusal, name) {
  const format = FORMATS[suffixOf(name)];
  if (refusal.code === "unsupported_media_type" && format) {
    return `The service cannot read ${format}. Save the photo as JPEG and try that.`;
  }
  return WORDS[refusal.code] ?? refusal.message;
}

function renderPrediction({ class_id, class_name, probability }) {
  const item = copy("prediction");
  const find = (selector) => item.querySelector(selector);
  find(".class-name").textContent = class_name.replaceAll("_", " ");
  find(".class-id").textContent = class_id;
  find(".probability").textContent = formatShare(probability);
  find(".bar").style.setProperty("--share", probability);
  return item;
}

function formatShare(probability) {
  return probability < 0.0005 ? "< 0.1 %" : `${(100 * probability).toFixed(1)} %`;
}

function copy(templateId) {
  return document.getElementById(templateId).content.firstElementChild.cloneNode(true);
}
