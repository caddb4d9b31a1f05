"""The examples of `clipload run --help`, run: each as it stands, but for its length and its servers' ports."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image as Pillow

from clipload.cli.examples import EXAMPLES, epilogue
from tests.end_to_end.runs import INCONCLUSIVE, OK, check_finished, run_clipload
from tests.servers import ROOT, Server, command, running_server

PORTS = re.compile(r"http://127\.0\.0\.1:3000\d")


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Server]]:
    quick = ("--law", "constant(1ms)", "--servers", "8", "--dim", "64", "--cores", "1")
    with running_server("sim", *quick) as first, running_server("sim", *quick) as second:
        yield [first, second]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples name: a trace, Flickr8k as it is unpacked, a folder of photographs."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "arrivals.txt").write_text("".join(f"{i * 0.02:.2f}\n" for i in range(100)))
    for name in ("Flicker8k_Dataset", "photos"):
        (folder / name).mkdir()
        for i in range(6):
            Pillow.new("RGB", (64, 48), (40 * i, 90, 200 - 30 * i)).save(folder / name / f"{i}.jpg")
    captions = [f"{i}.jpg#{k}\tPicture {i} , caption {k} .\n" for i in range(6) for k in range(5)]
    (folder / "Flickr8k.token.txt").write_text("".join(captions))
    return folder


def shortened(line: str, servers: list[Server]) -> list[str]:
    """The flags of an example, its durations a second, its servers ours."""
    urls = iter(server.url for server in servers)
    words = shlex.split(PORTS.sub(lambda _: next(urls), line))
    assert words[:2] == ["clipload", "run"]
    words = [re.sub(r"^\d+(s|m)$", "1s", word) for word in words[2:]]
    return words if "--base-url" in words else [*words, "--base-url", servers[0].url]


SHORT = ("closed loop", "open loop", "Flickr8k")  # one of each kind; the others with --full


@pytest.mark.parametrize("name", [name if name in SHORT else pytest.param(name, marks=pytest.mark.slow) for name in EXAMPLES])
def test_an_example_runs(name: str, servers: list[Server], place: Path, tmp_path: Path) -> None:
    done = run_clipload(*shortened(EXAMPLES[name], servers), out=tmp_path, cwd=place)
    check_finished(done, code=INCONCLUSIVE if "--slo" in EXAMPLES[name] else OK)  # a second decides no p99
    assert done.counts["ok"] == done.counts["scheduled"] > 20


def test_the_help_shows_them_as_a_shell_takes_them() -> None:
    done = subprocess.run(command("run", "--help"), capture_output=True, text=True, cwd=ROOT, timeout=60, check=True)
    shown = done.stdout.partition("\nExamples\n")[2].replace("\\\n", " ")
    assert shown
    for name, line in EXAMPLES.items():
        assert name in shown
        assert shlex.split(line) in [shlex.split(text) for text in shown.splitlines()]
    assert max(map(len, epilogue().splitlines())) <= 80


def test_there_is_one_for_everything_a_newcomer_asks_for() -> None:
    wanted = {"closed loop", "open loop", "ramp", "trace", "Flickr8k", "folder", "several servers"}
    assert wanted <= set(EXAMPLES)
