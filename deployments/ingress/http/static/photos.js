/** Where photos come from: dropped files and folders, the clipboard, the two inputs. */

const PHOTO_NAME = /\.(jpe|jpe?g|jfif|png|webp|gif|bmp)$/i;
const TAKEN_AT_ONCE = 100;
const IN_ORDER = new Intl.Collator(undefined, { numeric: true });

/** Call `take(files)` with what people give, in whatever way they give it. */
export function collectPhotos(target, inputs, take) {
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
  collectDrops(target, take);
}

function collectDrops(target, take) {
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
      for await (const files of walk(entry)) take(files);
    }
  });
}

/** The photos at and below an entry, some at a time. */
async function* walk(entry) {
  if (entry instanceof File) {
    yield [entry];
  } else if (entry.isFile) {
    yield [await fileOf(entry)];
  } else {
    yield* walkFolder(entry);
  }
}

async function* walkFolder(folder) {
  const entries = await list(folder);
  const photos = entries.filter((entry) => entry.isFile && PHOTO_NAME.test(entry.name));
  for (let start = 0; start < photos.length; start += TAKEN_AT_ONCE) {
    yield await Promise.all(photos.slice(start, start + TAKEN_AT_ONCE).map(fileOf));
  }
  for (const entry of entries.filter((entry) => entry.isDirectory)) yield* walkFolder(entry);
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
