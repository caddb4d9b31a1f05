"""`jsonl`: one JSON object a line, `{"text": …, "image": …}` with either or both; other keys are passed over.

`image` is a path (relative to the file's folder; of standard input, to the working directory), an http or https URL, which is
sent as it stands, or a data URI. A line that is no such object is an error that names file and line; a blank one is none.
"""

from __future__ import annotations

import sys
from pathlib import Path

import orjson

from clipload.errors import DatasetError
from clipload.sources import SourceOptions
from clipload.sources.catalogue import Catalogue, Entry, Words
from clipload.units import format_bytes
from clipload.values import ImageRef

FLAG = "--data"
STDIN = Path("-")
FORM = '{"text": "a caption", "image": "file.jpg"}, with either or both'
WORDS = Words(FLAG, 'no "text"', 'no "image"', f"write lines of the form {FORM}, or choose another --mode")


class Lines(Catalogue):
    """One Entry for each line. Everything is read at once, and standard input only once; images are opened when drawn."""

    def __init__(self, options: SourceOptions) -> None:
        if options.data is None:
            raise DatasetError("is needed with --data-source jsonl", flag=FLAG, remedy="name a file, or - for standard input")
        name = "stdin" if options.data == STDIN else str(options.data)
        folder = Path() if options.data == STDIN else options.data.parent
        lines = _read(options.data, name, options.most_bytes).removeprefix(b"\xef\xbb\xbf").split(b"\n")
        entries = [entry_of(line, name, number, folder) for number, line in enumerate(lines, 1) if line.strip()]
        if not entries:
            raise DatasetError(f"{name} has no lines", flag=FLAG, remedy=f"write lines of the form {FORM}")
        super().__init__(options, entries, WORDS)


def _read(file: Path, name: str, most: int) -> bytes:
    try:
        if file != STDIN:
            with file.open("rb") as stream:
                data = stream.read(most + 1)
        elif sys.stdin is None:
            raise DatasetError("standard input is closed", flag=FLAG, remedy="pipe lines into it, or name a file")
        else:
            data = sys.stdin.buffer.read(most + 1)
    except OSError as error:
        remedy = "name a file of JSON lines, or - for standard input"
        raise DatasetError(f"cannot read {name}: {error.strerror}", flag=FLAG, remedy=remedy) from error
    if len(data) > most:
        remedy = "use fewer lines, or name image files in them instead of data URIs"
        raise DatasetError(f"{name} is longer than the {format_bytes(most)} of --arena-limit", flag=FLAG, remedy=remedy)
    return data


def entry_of(line: bytes, name: str, number: int, folder: Path) -> Entry:
    """Of one line that is not blank. DatasetError names file and line."""
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise _malformed(name, number, f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise _malformed(name, number, f"{line[:60].decode(errors='replace')!r} is no object")
    for key in ("text", "image"):
        if not isinstance(document.get(key), str | None):
            raise _malformed(name, number, f"{key!r} is not a string")
    text, image = (str(document.get(key) or "").strip() for key in ("text", "image"))
    return Entry(_called(name, image), number, text or None, _image(image, folder) if image else None)


def _called(name: str, image: str) -> str:
    """The file of lines, and the image when it has a short name."""
    return f"{name}: {image}" if image and not image.startswith("data:") else name


def _image(image: str, folder: Path) -> Path | ImageRef | str:
    if image.startswith("data:"):
        return image
    return ImageRef(image) if image.startswith(("http://", "https://")) else folder / image


def _malformed(name: str, number: int, what: str) -> DatasetError:
    return DatasetError(f"{name}, line {number}: {what}", flag=FLAG, remedy=f"write {FORM}")
