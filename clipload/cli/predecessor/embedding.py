"""`main.py`: local vectors, by `clipload embed`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from clipload.cli import _exit_code, guarded, with_dashes
from clipload.cli.predecessor.flags import Parser, echo
from clipload.errors import EXIT_OK, HostError

RENAMED = {
    "--flickr8k-images-dir": "--flickr-images-dir",
    "--flickr8k-captions-file": "--flickr-captions-file",
    "--flickr8k-captions-per-image": "--captions-per-image",
    "--flickr8k-modality": "--modality",
}
KEPT = ("--model", "--batch-size", "--device", "--use-ipex", "--amp", "--amx", "--max-samples")
DUMPS = ("--dump-txt-emb", "--dump-img-emb")
MODALITIES = {"multimodal": "both"}


def parser() -> Parser:
    """The older flags; what else is typed goes to `clipload embed` as it is."""
    flags = Parser(prog="main.py", description=f"{(__doc__ or '').splitlines()[0]} All flags of clipload embed are taken too.")
    flags.hint = "see clipload embed --help"
    flags.add_argument("--backend", default="clip")
    for name in (*KEPT, *RENAMED, *DUMPS):
        flags.add_argument(name)
    return flags


def translated(arguments: Sequence[str]) -> list[str]:
    """The arguments of `clipload embed` that mean the same. Dumps of something else were always replaced."""
    given, more = parser().parse_known_args(with_dashes(arguments))
    values = {"--" + name.replace("_", "-"): value for name, value in vars(given).items() if value is not None}
    command = ["embed"]
    for name, value in values.items():
        value = MODALITIES.get(value, value) if name == "--flickr8k-modality" else value
        command += [RENAMED.get(name, name), value]
    dumped = any(name in values for name in DUMPS)
    return [*command, *(["--overwrite"] if dumped and "--overwrite" not in more else []), *more]


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    return guarded(lambda: _main(arguments), "main.py")


def _main(arguments: Sequence[str]) -> int:
    command = translated(arguments)
    echo(["clipload", *command])
    made = _folders([Path(value).parent for name, value in zip(command, command[1:]) if name in DUMPS])  # noqa: RUF007
    code = _exit_code(command)
    for folder in made if code != EXIT_OK else ():
        with suppress(OSError):  # there is something in it: then it stays
            folder.rmdir()
    return code


def _folders(wanted: list[Path]) -> list[Path]:
    """Makes the dumps' folders that are not there, as before; those that it made."""
    made = []
    for folder in wanted:
        if not folder.exists():
            try:
                folder.mkdir(parents=True)
            except OSError as error:
                what = f"cannot make {folder}: {error.strerror}"
                raise HostError(what, flag="--dump-txt-emb", remedy="name a folder that can be written to") from error
            made.append(folder)
    return made
