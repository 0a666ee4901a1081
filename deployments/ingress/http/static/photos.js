/** Where photos come from: dropped files and folders, the clipboard, the two inputs. */

import { PHOTO_SUFFIXES, UNSUPPORTED_SUFFIXES, isHidden, suffixOf } from "./suffixes.js";

const TAKEN_AT_ONCE = 100;
const IN_ORDER = new Intl.Collator(undefined, { numeric: true });

/**
 * Call `take(files)` with what people give, in whatever way they give it, and
 * `leaveOut(names)` with the pictures of a folder that have another format.
 * What is given itself is taken whatever it is; of a folder, only photos that are not hidden.
 */
export function collectPhotos(target, inputs, take, leaveOut) {
  for (const input of inputs) {
    input.addEventListener("change", () => {
      take([...input.files]);
      input.value = ""; // so that the same photo can be chosen again
    });
  }
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) {
      event.preventDefault();
      take(files);
    }
  });
  collectDrops(target, take, leaveOut);
}

function collectDrops(target, take, leaveOut) {
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    target.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) target.classList.remove("over");
  });
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    target.classList.remove("over");
    // The entries are gone after the first await: ask for all of them now.
    const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
    const entries = items.map((item) => item.webkitGetAsEntry() ?? item.getAsFile());
    for (const entry of entries) {
      for await (const files of walk(entry, leaveOut)) take(files);
    }
  });
}

/** The photos at and below an entry, some at a time. */
async function* walk(entry, leaveOut) {
  if (entry instanceof File) {
    yield [entry];
  } else if (entry.isFile) {
    yield [await fileOf(entry).catch(() => new File([], entry.name))];
  } else {
    yield* walkFolder(entry, leaveOut);
  }
}

async function* walkFolder(folder, leaveOut) {
  const entries = (await list(folder)).filter((entry) => !isHidden(entry.name));
  const files = entries.filter((entry) => entry.isFile);
  const photos = files.filter((entry) => PHOTO_SUFFIXES.includes(suffixOf(entry.name)));
  const others = files.filter((entry) => UNSUPPORTED_SUFFIXES.includes(suffixOf(entry.name)));
  if (others.length) leaveOut(others.map((entry) => entry.name));
  for (let start = 0; start < photos.length; start += TAKEN_AT_ONCE) {
    yield await readable(photos.slice(start, start + TAKEN_AT_ONCE));
  }
  for (const entry of entries.filter((entry) => entry.isDirectory)) {
    yield* walkFolder(entry, leaveOut);
  }
}

/** The files of entries; without those that are gone since the folder was listed. */
async function readable(entries) {
  const files = await Promise.all(entries.map((entry) => fileOf(entry).catch(() => null)));
  return files.filter((file) => file !== null);
}

/** What is in a folder, by name; the browser tells it in parts and in no order. */
async function list(folder) {
  const reader = folder.createReader();
  const entries = [];
  for (;;) {
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!part.length) return entries.sort((a, b) => IN_ORDER.compare(a.name, b.name));
    entries.push(...part);
  }
}

function fileOf(entry) {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}
