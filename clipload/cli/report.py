"""`clipload report`: pages, pictures and tables of saved Runs, from what is on disk alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from clipload import archive
from clipload.errors import EXIT_OK, CliploadError, HostError, PlanError
from clipload.files import replacing
from clipload.reports.batches import check_drawing
from clipload.reports.points import ordered
from clipload.reports.sources import CampaignSource, RunsSource, Source
from clipload.searches import holds_campaign, recalled

if TYPE_CHECKING:
    from clipload.reports.plots import Plot

_FORMAT = Group("Format", sort_key=1)
_SWITCH = {"group": _FORMAT, "negative": ()}
Rebuild = Annotated[
    bool,
    Parameter(
        help="plan.toml, intervals.csv, latency.hlog and run.json, anew from journal.bin and beside it: for a Run that was "
        "killed, or that an older clipload saved.",
        **_SWITCH,
    ),
]
Out = Annotated[
    Path | None,
    Parameter(help="Folder for the files. Default: the one named, of several the current one; a text alone goes to stdout."),
]
Files = dict[str, bytes]


def report(
    runs: Annotated[
        list[Path],
        Parameter(
            help="Run directories, or folders that hold some, each Run once; or the directory of one find, sweep or repeats, "
            "of which the answer is drawn first."
        ),
    ],
    /,
    *,
    html: Annotated[
        bool, Parameter(help="report.html, one page that needs no network: what is made when no format is named.", **_SWITCH)
    ] = False,
    png: Annotated[bool, Parameter(help="Each chart as a PNG.", **_SWITCH)] = False,
    svg: Annotated[bool, Parameter(help="Each chart as an SVG.", **_SWITCH)] = False,
    csv: Annotated[bool, Parameter(help="One row for each Run.", **_SWITCH)] = False,
    md: Annotated[bool, Parameter(help="Tables that fit a pull request.", **_SWITCH)] = False,
    json: Annotated[
        bool, Parameter(help="The Run as run.json has it, of several a list; campaign.json as its Runs say it now.", **_SWITCH)
    ] = False,
    rebuild: Rebuild = False,
    out: Out = None,
) -> int:
    """Draw and tabulate saved Runs. Needs no target."""
    texts = [name for name, asked in (("md", md), ("csv", csv), ("json", json)) if asked]
    pictures = [name for name, asked in (("png", png), ("svg", svg)) if asked]
    html = html or not (texts or pictures or rebuild)
    if html or pictures:
        check_drawing()
    if rebuild:
        if out is not None and not (texts or html or pictures):
            raise PlanError("documents lie beside their journal", flag="--out", remedy="leave it out, or copy the Run first")
        _rebuild(runs)
        if not (texts or html or pictures):
            return EXIT_OK
    if len(runs) == 1 and holds_campaign(runs[0]):
        source: Source = CampaignSource(recalled(runs[0]))
    else:
        source = RunsSource(ordered(archive.load_all(runs)))
    written = {name: getattr(source, name)() for name in texts}
    if out is None and len(texts) == 1 and not (html or pictures):
        return _told(written[texts[0]])
    folder = out or (runs[0] if len(runs) == 1 else Path())
    files = {f"report.{name}": text.encode() for name, text in written.items()}
    if html or pictures:
        files |= _drawn(source, html=html, pictures=pictures)
    save(folder, files)
    print("\n".join(str(folder / name) for name in files))
    return EXIT_OK


def _rebuild(places: Sequence[Path]) -> None:
    """The documents of each Run; said on stderr, since a text may go to stdout."""
    for directory, run in archive.load_each(places):
        try:
            archive.save(run, directory)
        except HostError as error:
            remedy = "free some disk, or rebuild a copy of it in a folder that can be written to"
            raise HostError(error.what, flag="--rebuild", remedy=remedy) from error
        print(f"clipload: {directory}: documents written anew; the run ended: {run.ended}", file=sys.stderr)


def _told(text: str) -> int:
    """Whoever reads may have gone (`| head`)."""
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_OK


def _drawn(source: Source, *, html: bool, pictures: Sequence[str]) -> Files:
    """All in memory, so that what cannot be drawn leaves nothing behind."""
    plots = source.plots()
    files: Files = {"report.html": source.html(plots).encode()} if html else {}
    for kind in pictures:
        files |= {f"{plot.name}.{kind}": _picture(plot, kind) for plot in plots}
    return files


def _picture(plot: Plot, kind: str) -> bytes:
    import vl_convert

    from clipload.reports.plots.palette import printed

    spec = printed(plot.chart)
    if kind == "svg":
        return str(vl_convert.vegalite_to_svg(spec)).encode()
    return bytes(vl_convert.vegalite_to_png(spec, scale=2))


def save(folder: Path, files: Files) -> None:
    """Each whole or absent. HostError when the folder cannot be written to."""
    if not files:
        raise CliploadError("there is nothing to draw: no request came back ok", remedy="use --html or --md, which say why")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            with replacing(folder / name) as file:
                file.write(content)
    except OSError as error:
        raise HostError(
            f"cannot write to {folder}: {error.strerror}", flag="--out", remedy="name a folder that can be written to"
        ) from error
