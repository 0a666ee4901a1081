/** Which files of a folder are photos. `densenet_client/suffixes.py` has the same lists. */

export const PHOTO_SUFFIXES = [".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp"];

/** Pictures that the service cannot decode: left out of a folder, and reported. */
export const UNSUPPORTED_SUFFIXES = [
  ".heic", ".heif", ".avif", ".tif", ".tiff", ".jxl", ".jp2", ".svg", ".ico", ".psd",
  ".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".raf", ".rw2"
];

/** What macOS' archives, Synology's disks and Windows keep beside the photos. */
export const SYSTEM_FOLDERS = ["__MACOSX", "@eaDir", "$RECYCLE.BIN"];

/** `.jpg` of `IMG_1.JPG`; empty if there is none. */
export function suffixOf(name) {
  const dot = name.lastIndexOf(".");
  return dot > 0 ? name.slice(dot).toLowerCase() : "";
}

/** Also macOS' AppleDouble twins, `._IMG_1.JPG`. */
export function isHidden(name) {
  return name.startsWith(".") || SYSTEM_FOLDERS.includes(name);
}
