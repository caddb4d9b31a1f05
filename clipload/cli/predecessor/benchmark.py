"""`benchmark_clip_sglang.py`: one closed loop, or a validation."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipload.cli import _exit_code, guarded
from clipload.cli.flags import plan_from, read_key
from clipload.cli.launching import saving, teller
from clipload.cli.predecessor.flags import KEY_VARIABLE, Parser, echo, run_command, say, warn_of_key
from clipload.credentials import Credentials
from clipload.measurement import measure
from clipload.reports.live import view_for
from clipload.reports.text import details, four_lines
from clipload.run import Run
from clipload.target import nobody
from clipload.verdict import judge

OUT = Path("runs")


def parser() -> Parser:
    """Every flag of the older benchmark with its old default; `--concurrency` is the one new one."""
    flags = Parser(prog="benchmark_clip_sglang.py", description=(__doc__ or "").splitlines()[0])
    flags.hint = "see benchmark_clip_sglang.py --help"
    add = flags.add_argument
    add("--base-url", default="http://127.0.0.1:30000", help="server root")
    add("--model", default="openai/clip-vit-large-patch14-336")
    add("--api", "--sgl-api", dest="api", default="v1", choices=("v1", "native", "openai"))
    add("--api-key", default="", help=f"accepted, with a warning; set {KEY_VARIABLE} instead")
    add("--timeout", type=float, default=120, help="seconds per request")
    add("--mode", default="multimodal", choices=("text", "multimodal"))
    add("--data-source", default="flickr8k", choices=("random", "flickr8k"))
    add("--clip-variant", default="base", choices=("base", "large-336"), help="side of random images: 224 or 336")
    add("--flickr-images-dir", default="")
    add("--flickr-captions-file", default="")
    add("--flickr-caption-pick", default="first", choices=("first", "random"))
    add("--num-samples", type=int, default=128)
    add("--batch-size", type=int, default=64, help="samples per request")
    add("--concurrency", type=int, default=1, help="new: requests in flight")
    add("--image-transport", default="data-url", choices=("data-url", "path/url"))
    add("--image-prep-workers", type=int, default=8, help="threads that encode images")
    add("--validate", action="store_true")
    add("--validate-samples", type=int, default=1, help="image groups")
    add("--validate-group-size", type=int, default=5, help="captions per image")
    add("--validation-dump", default="./sglang_mm_validation.txt")
    add("--validation-distractors", type=int, default=2)
    add("--validate-start-group", type=int, default=0)
    add("--validate-pick-file", default="")
    add("--seed", type=int, default=42)
    add("--debug", action="store_true", help="print the first request and its reply, images and vectors elided")
    add("--warmup", action="store_true")
    add("--warmup-iters", type=int, default=8)
    add("--profile", action="store_true")
    return flags


@dataclass(frozen=True)
class Benchmark:
    """What was asked for: of `workers` processes, each `num_samples` with `concurrency` requests in flight."""

    given: argparse.Namespace
    workers: int = 1

    @property
    def batch_size(self) -> int:
        """No larger than what there is to send."""
        return min(int(self.given.batch_size), max(1, int(self.given.num_samples)))

    @property
    def each(self) -> int:
        """Samples that one worker sends: whole requests, since a server is measured with equal ones."""
        return -(-int(self.given.num_samples) // max(1, self.batch_size)) * self.batch_size

    @property
    def asked(self) -> int:
        return int(self.given.num_samples * self.workers)

    @property
    def timeout(self) -> str:
        """As clipload writes a duration; what cannot be one is left for it to refuse."""
        return f"{self.given.timeout:.9f}".rstrip("0").rstrip(".") + "s"

    @property
    def key(self) -> str:
        """From the old flag when it was given, else as `clipload run` finds it."""
        return read_key(None, {KEY_VARIABLE: self.given.api_key} if self.given.api_key else os.environ)

    def values(self) -> dict[str, Any]:
        """The fields of the Plan that are not its defaults. What an old command line said in vain is left out."""
        given = self.given
        values: dict[str, Any] = {
            "base_url": given.base_url,
            "api": given.api,
            "timeout": self.timeout,
            "concurrency": given.concurrency * self.workers,
            "num_samples": given.num_samples if self.workers == 1 else self.each * self.workers,
            "batch_size": self.batch_size,
            "mode": given.mode,
            "data_source": given.data_source,
            "seed": given.seed,
            "allow_unfit": True,  # as it always did; the report says so now
        }
        if given.api != "native":  # which has no such field
            values["model"] = given.model
        return values | self._datas() | self._warm_up()

    def _datas(self) -> dict[str, Any]:
        given = self.given
        values: dict[str, Any] = {}
        if given.data_source == "flickr8k":
            values |= {
                "flickr_images_dir": given.flickr_images_dir,
                "flickr_captions_file": given.flickr_captions_file,
                "flickr_caption_pick": given.flickr_caption_pick,
            }
        elif given.mode == "multimodal":
            values["clip_variant"] = given.clip_variant
        if given.mode == "multimodal":
            values |= {"image_transport": given.image_transport, "image_threads": given.image_prep_workers}
        return {name: value for name, value in values.items() if value != ""}

    def _warm_up(self) -> dict[str, Any]:
        values: dict[str, Any] = {"profile": True} if self.given.profile else {}
        if self.given.warmup and self.given.warmup_iters:
            values["warmup_requests"] = self.given.warmup_iters * self.workers
        return values

    def validation(self) -> list[str]:
        """The arguments of `clipload validate` that mean the same."""
        given = self.given
        command = ["validate", "--base-url", given.base_url, "--api", given.api]
        command += ["--model", given.model] if given.api != "native" else []
        command += ["--timeout", self.timeout, "--concurrency", str(given.concurrency)]
        command += ["--flickr-images-dir", given.flickr_images_dir, "--flickr-captions-file", given.flickr_captions_file]
        command += ["--samples", str(given.validate_samples), "--group-size", str(given.validate_group_size)]
        command += ["--distractors", str(given.validation_distractors), "--start-group", str(given.validate_start_group)]
        command += ["--pick-file", given.validate_pick_file] if given.validate_pick_file else []
        command += ["--image-transport", given.image_transport] if given.image_transport != "data-url" else []
        return [*command, "--seed", str(given.seed), "--dump", given.validation_dump]

    def notes(self) -> list[str]:
        """How what is done differs from what was typed."""
        given = self.given
        found = []
        if self.each != given.num_samples and given.num_samples > 0:
            requests = self.each // self.batch_size
            found.append(f"{given.num_samples} samples are {requests} requests of {self.batch_size}: {self.each} are sent")
        if self.batch_size != given.batch_size and given.batch_size > 0:
            found.append(f"{given.num_samples} samples fill no batch of {given.batch_size}: the one request has them all")
        if given.api == "native":
            found.append("/encode names no model: --model is left out")
        return [f"note: {sentence}" for sentence in found]


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    return guarded(lambda: _main(arguments), "benchmark_clip_sglang.py")


def _main(arguments: Sequence[str]) -> int:
    benchmark = Benchmark(parser().parse(arguments))
    if benchmark.given.api_key:
        warn_of_key()
    if benchmark.given.validate:
        return validate(benchmark)
    run, _, code = perform(benchmark, benchmark.values(), OUT)
    print(four_lines(run, benchmark.asked), flush=True)
    return code


def validate(benchmark: Benchmark) -> int:
    """`clipload validate` in this process; the key goes by the environment."""
    command = benchmark.validation()
    echo(["clipload", *command], keyed=bool(benchmark.given.api_key))
    vain = [f"--{name}" for name in ("warmup", "debug", "profile") if getattr(benchmark.given, name)]
    if vain:
        say(f"note: a validation is not timed: {', '.join(vain)} changes nothing")
    key = benchmark.key
    if key:
        os.environ[KEY_VARIABLE] = key
    return _exit_code(command)


def perform(benchmark: Benchmark, values: dict[str, Any], out: Path) -> tuple[Run, Path, int]:
    """Says the new command, once it is known to be one, and does it: the Run, its directory, the exit code.

    Everything but the four lines is on stderr.
    """
    plan, credentials = plan_from(values, None), Credentials(benchmark.key)
    flags = ["--debug"] if benchmark.given.debug else []
    flags += ["--out", str(out)] if out != OUT else []
    echo(run_command(values, *flags), keyed=bool(benchmark.given.api_key))
    for note in benchmark.notes():
        say(note)
    view = view_for(plan)
    with saving() as places:
        run, directory = measure(plan, credentials, out, view, teller(view, credentials) if benchmark.given.debug else nobody)
        places.append(directory)
        verdict = judge(run)
        say(details(run, verdict, str(directory)))
    return run, directory, verdict.exit_code
