"""`folder`: every image file in a folder and those below it; `name.txt` beside `name.jpg` holds its caption, on its first line.

Files are known by their names' endings. Hidden files and folders are passed over, links to folders are not followed.
"""

from __future__ import annotations

import os
from pathlib import Path

from clipload.errors import DatasetError
from clipload.sources import SourceOptions
from clipload.sources.catalogue import Catalogue, Entry, Words

FLAG = "--data"
ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"})
CAPTION = ".txt"
WORDS = Words(
    FLAG,
    f"no caption beside it (name{CAPTION})",
    "no image",
    f"put name{CAPTION} beside name.jpg, or send images alone: --mode image",
)


class Folder(Catalogue):
    """One Entry for each image, in the order of their paths. Only what is drawn is opened, captions too."""

    def __init__(self, options: SourceOptions) -> None:
        if options.data is None:
            raise DatasetError("is needed with --data-source folder", flag=FLAG, remedy="name a folder of images")
        files = _files(options.data)
        known = set(files)
        images = [file for file in files if file.suffix.lower() in ENDINGS]
        if not images:
            what = f"no image among the {len(files)} files of {options.data}" if files else f"{options.data} is empty"
            remedy = f"name a folder with files that end in {', '.join(sorted(ENDINGS))}"
            raise DatasetError(what, flag=FLAG, remedy=remedy)
        captions = (image.with_suffix(CAPTION) for image in images)
        entries = [Entry(str(image), 0, text if text in known else None, image) for image, text in zip(images, captions)]
        super().__init__(options, entries, WORDS)


def _files(folder: Path) -> list[Path]:
    """All files that are not hidden, sorted by their paths. `DatasetError` for a folder that cannot be listed."""
    found: list[Path] = []
    try:
        for root, folders, files in os.walk(folder, onerror=_fail):
            folders[:] = [name for name in folders if not name.startswith(".")]
            found += [Path(root, name) for name in files if not name.startswith(".")]
    except OSError as error:
        where = error.filename or folder
        raise DatasetError(f"cannot list {where}: {error.strerror}", flag=FLAG, remedy="name a folder of images") from error
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _fail(error: OSError) -> None:
    raise error
