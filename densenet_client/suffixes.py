"""Which files of a folder are photos. The page's `static/suffixes.js` has the same lists."""

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp"})
"""What is taken from a folder; a file that is named itself is sent whatever it is."""

UNSUPPORTED_SUFFIXES = frozenset(
    {
        *(".heic", ".heif", ".avif", ".tif", ".tiff", ".jxl", ".jp2", ".svg", ".ico", ".psd"),
        *(".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".raf", ".rw2"),
    }
)
"""Pictures that the service cannot decode: left out of a folder, and reported."""

SYSTEM_FOLDERS = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN"})
"""What macOS' archives, Synology's disks and Windows keep beside the photos."""
