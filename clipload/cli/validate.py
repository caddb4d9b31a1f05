"""`clipload validate`: are a server's vectors right."""

from __future__ import annotations

import json as json_format
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from clipload.cli.flags import ASKING, TARGET_GROUP, add_parameters, asking_from, read_credentials
from clipload.credentials import Credentials
from clipload.errors import EXIT_INTERRUPTED, PlanError
from clipload.plan import Plan, flag_of
from clipload.reports import validation as report
from clipload.reports.batches import check_drawing
from clipload.reports.embedding import progress
from clipload.validation import Validation, ValidationOptions, save
from clipload.validation import validate as validate_server

_ASKED = {**ASKING, "model": "The `model` field of each request; --against local: the model here too."}
_SET, _GROUPS, _PARITY = Group("Dataset", sort_key=1), Group("Groups", sort_key=2), Group("Whole set", sort_key=3)
_OUTPUT = Group("Output", sort_key=9)


def validate(
    *,
    flickr_images_dir: Annotated[str | None, Parameter(help="Flickr8k's folder of images.", group=_SET)] = None,
    flickr_captions_file: Annotated[str | None, Parameter(help="Flickr8k.token.txt.", group=_SET)] = None,
    data_source: Annotated[
        str | None, Parameter(help="Whole set: flickr8k, folder, jsonl or random; without it, what the files say.", group=_SET)
    ] = None,
    data: Annotated[str | None, Parameter(help="Whole set: a folder, or a JSONL file.", group=_SET)] = None,
    max_samples: Annotated[
        int | None, Parameter(help="Whole set: at most so many images with their captions, the first by name.", group=_SET)
    ] = None,
    captions_per_image: Annotated[
        int | None,
        Parameter(help="Whole set: captions of each image; of dumps without names: in the dump. [default: all]", group=_SET),
    ] = None,
    modality: Annotated[
        Literal["both", "text", "image"] | None, Parameter(help="Whole set: what is embedded. [default: both]", group=_SET)
    ] = None,
    image_transport: Annotated[
        Literal["data-url", "path", "path/url"] | None,
        Parameter(help="How an image travels: its file inside the request, or by its path. [default: data-url]", group=_SET),
    ] = None,
    seed: Annotated[
        int,
        Parameter(
            help="Seed of the distractors, of the order in which a whole set is asked, and of what the map shows.", group=_SET
        ),
    ] = 42,
    samples: Annotated[
        int | None, Parameter(help="Groups: an image with its captions each. [default: 1]", group=_GROUPS)
    ] = None,
    group_size: Annotated[int | None, Parameter(help="Captions of each image. [default: 5]", group=_GROUPS)] = None,
    distractors: Annotated[
        int | None, Parameter(help="Captions of other images in each group. [default: 2]", group=_GROUPS)
    ] = None,
    start_group: Annotated[
        int | None, Parameter(help="First group, a place among the sorted image names. [default: 0]", group=_GROUPS)
    ] = None,
    pick_file: Annotated[
        str | None, Parameter(help="Start at the image of this name instead, if there is one.", group=_GROUPS)
    ] = None,
    dump: Annotated[
        Path | None, Parameter(help="File for the groups: a header, score<TAB>text lines, an empty line.", group=_GROUPS)
    ] = None,
    recall: Annotated[
        bool, Parameter(help="Recall@1/5/10 both ways, all captions against all images.", group=_PARITY, negative=())
    ] = False,
    from_dumps: Annotated[
        tuple[Path, Path] | None,
        Parameter(
            help="Recall of two dumps of clipload embed, texts' and images'; no server is asked.", group=_PARITY, negative=()
        ),
    ] = None,
    against: Annotated[
        tuple[str, ...],
        Parameter(
            help="Parity with local (a model here), a dump of clipload embed (given twice: texts and images), or another URL.",
            group=_PARITY,
            negative=(),
        ),
    ] = (),
    against_model: Annotated[
        str | None, Parameter(help="The other side's model, when it is called otherwise than --model.", group=_PARITY)
    ] = None,
    backend: Annotated[
        str | None,
        Parameter(
            help="local: what computes, as in clipload embed: torch, openvino, ipex, auto. [default: torch]", group=_PARITY
        ),
    ] = None,
    device: Annotated[str | None, Parameter(help="local: cpu, cuda or cuda:N. [default: cpu]", group=_PARITY)] = None,
    amp: Annotated[
        Literal["off", "parity", "auto", "bf16", "fp16"] | None,
        Parameter(help="local: precision; off is fp32. [default: off]", group=_PARITY),
    ] = None,
    openvino_cache: Annotated[
        Path | None, Parameter(help="local, openvino or auto: keep the converted model in this folder.", group=_PARITY)
    ] = None,
    dtype: Annotated[
        Literal["auto", "fp32", "fp16", "fp32+bf16", "bf16", "int8"] | None,
        Parameter(help="The server's; auto is what it says of itself. [default: auto]", group=_PARITY),
    ] = None,
    limit: Annotated[
        float | None,
        Parameter(help="Largest 1 − cosine. [default: 1e-5; 1e-3 where a side is bf16 or int8]", group=_PARITY),
    ] = None,
    repeat: Annotated[
        int | None,
        Parameter(help="How often each Item is asked; the worst answer counts. [default: 2]", group=_PARITY),
    ] = None,
    worst: Annotated[int | None, Parameter(help="Items in the table of the worst. [default: 10]", group=_PARITY)] = None,
    api_key_file: Annotated[
        Path | None, Parameter(help="File with the target's key. Else CLIPLOAD_API_KEY is used.", group=TARGET_GROUP)
    ] = None,
    secret_header_file: Annotated[
        Path | None, Parameter(help="File of headers that hold secrets, a line each: Name: value.", group=TARGET_GROUP)
    ] = None,
    html: Annotated[
        Path | None,
        Parameter(help="Parity: a page with the worst pairs and a map of the vectors; needs no network.", group=_OUTPUT),
    ] = None,
    json: Annotated[
        bool, Parameter(help="The result as JSON on stdout; the text goes to stderr.", group=_OUTPUT, negative=())
    ] = False,
    **flags: Any,
) -> int:
    """Check a server's vectors: groups of captions scored against images, whole-set retrieval, parity with another side.

    Exit code 1 says that vectors are wrong, 3 that the server did not answer.
    """
    target, credentials = _asked(flags, api_key_file, secret_header_file, nobody=from_dumps is not None)
    options = ValidationOptions(
        target=target,
        credentials=credentials,
        flickr_images_dir=_path(flickr_images_dir),
        flickr_captions_file=_path(flickr_captions_file),
        image_transport=image_transport,
        seed=seed,
        samples=samples,
        group_size=group_size,
        distractors=distractors,
        start_group=start_group,
        pick_file=pick_file,
        dump=dump,
        recall=recall,
        from_dumps=from_dumps or (),
        against=against,
        data_source=data_source,
        data=data,
        captions_per_image=captions_per_image,
        max_samples=max_samples,
        modality=modality,
        repeat=repeat,
        limit=limit,
        dtype=dtype,
        worst=worst,
        html=html,
        against_model=against_model,
        backend=backend,
        device=device,
        amp=amp,
        openvino_cache=openvino_cache,
    )
    if html is not None:
        check_drawing("--html")
    try:
        with progress() as view:
            found = validate_server(options, view)
    except KeyboardInterrupt:
        print("clipload: interrupted; nothing was written", file=sys.stderr)
        return EXIT_INTERRUPTED
    if html is not None:
        _draw(found, options, html)
    _show(found, options.value("worst"), json=json)
    return found.exit_code


def _asked(
    flags: dict[str, Any], key_file: Path | None, header_file: Path | None, *, nobody: bool
) -> tuple[Plan | None, Credentials]:
    if not nobody:
        plan = asking_from(flags, _ASKED)
        return plan, read_credentials(plan, key_file, header_file)
    given = [name for name in _ASKED if flags.get(name) is not None]
    if given:
        raise PlanError("--from-dumps asks no server", flag=flag_of(given[0]), remedy="leave one of them out")
    return None, Credentials()


def _path(text: str | None) -> Path | None:
    """An empty one, as a script may give it, is none."""
    return Path(text) if text else None


def _draw(found: Validation, options: ValidationOptions, path: Path) -> None:
    from clipload.reports.validation_page import validation_page

    save(path.expanduser(), validation_page(found, options.value("worst"), options.seed, time.time()), "--html")
    found.html = path


def _show(found: Validation, worst: int, *, json: bool) -> None:
    """Whoever reads may have gone (`| head`): what was found stands in the exit code."""
    try:
        print(report.text(found, worst), file=sys.stderr if json else sys.stdout, flush=True)
        if json:
            print(json_format.dumps(report.document(found, worst)), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


add_parameters(validate, _ASKED)
