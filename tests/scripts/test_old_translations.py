"""What the older flags mean today: defaults, both spellings, the new command that is said, and mistakes."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipload.cli import _exit_code, with_dashes
from clipload.cli.flags import plan_from
from clipload.cli.predecessor import benchmark, embedding, launcher
from clipload.cli.predecessor.benchmark import Benchmark
from clipload.cli.predecessor.flags import masked, run_command, without_key
from clipload.errors import EXIT_TARGET, EXIT_USAGE, CliploadError, PlanError
from clipload.host import allowed_cores
from clipload.plan import Plan
from clipload.units import Duration
from tests.scripts.names import SCRIPTS
from tests.servers import ROOT

RANDOM = "--data_source random"
FLICKR = "--flickr_images_dir images --flickr_captions_file tokens.txt"
KEY = "sesame-open-thyself"


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("CLIPLOAD_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def of(line: str, workers: int = 1) -> Benchmark:
    return Benchmark(benchmark.parser().parse(shlex.split(line)), workers)


def plan_of(line: str) -> Plan:
    return plan_from(of(line).values(), None)


def test_the_old_defaults() -> None:
    expected = {
        "base_url": ("http://127.0.0.1:30000",), "model": "openai/clip-vit-large-patch14-336", "api": "v1",
        "timeout": Duration.seconds(120), "mode": "multimodal", "data_source": "flickr8k", "clip_variant": "base",
        "flickr_caption_pick": "first", "num_samples": 128, "batch_size": 64, "image_transport": "data-url",
        "image_threads": 8, "seed": 42, "profile": False, "warmup_requests": 0, "concurrency": 1, "workers": 1,
        "image_format": "png", "duration": None, "no_preflight": False, "allow_unfit": True,
    }  # fmt: skip
    plan = plan_of(FLICKR)
    assert {name: getattr(plan, name) for name in expected} == expected


SAID: list[tuple[str, dict[str, Any]]] = [
    ("--base_url http://h:1", {"base_url": ("http://h:1",)}),
    ("--model m", {"model": "m"}),
    ("--api native", {"api": "native", "model": "default"}),
    ("--sgl-api native", {"api": "native"}),
    ("--api openai --mode text", {"api": "openai", "mode": "text", "image_threads": None}),
    ("--timeout 2.5", {"timeout": Duration.seconds(2.5)}),
    ("--mode text", {"mode": "text"}),
    ("--clip_variant large-336", {"clip_variant": "large-336"}),
    (f"--data_source flickr8k {FLICKR}", {"flickr_images_dir": "images", "flickr_captions_file": "tokens.txt"}),
    (f"--data_source flickr8k {FLICKR} --flickr_caption_pick random", {"flickr_caption_pick": "random"}),
    ("--num_samples 640", {"num_samples": 640}),
    ("--num_samples 1000 --batch_size 100", {"num_samples": 1000, "batch_size": 100, "requests": 10}),
    ("--num_samples 10", {"num_samples": 10, "batch_size": 10, "requests": 1}),
    ("--concurrency 7", {"concurrency": 7}),
    ("--image_transport path/url", {"image_transport": "path/url"}),
    ("--image_prep_workers 3", {"image_threads": 3}),
    ("--seed 7", {"seed": 7}),
    ("--warmup", {"warmup_requests": 8}),
    ("--warmup --warmup_iters 3", {"warmup_requests": 3}),
    ("--warmup_iters 3", {"warmup_requests": 0}),
    ("--profile", {"profile": True}),
    ("--mode text --image_prep_workers 2 --image_transport path/url --clip_variant large-336", {"image_threads": None}),
]


@pytest.mark.parametrize(("line", "meant"), SAID, ids=[line for line, _ in SAID])
def test_each_flag_means_what_it_meant(line: str, meant: dict[str, Any]) -> None:
    plan = plan_of(f"{RANDOM} {line}")
    assert {name: getattr(plan, name) for name in meant} == meant
    assert plan_of(f"{RANDOM} {line}".replace("_", "-")) == plan, "dashes are as good as underscores"


def test_every_flag_of_the_older_benchmark_is_tried() -> None:
    tried = {word for line, _ in SAID for word in with_dashes(shlex.split(line)) if word.startswith("--")}
    known = {flag for action in benchmark.parser()._actions for flag in action.option_strings if flag.startswith("--")}
    elsewhere = {flag for flag in known if flag.startswith("--valid")} | {"--help", "--debug", "--api-key", "--data-source"}
    assert known - tried - elsewhere == set()


@pytest.mark.parametrize("line", [f"{RANDOM} {line}" for line, _ in SAID])
def test_the_new_command_that_is_said_is_the_same_load(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = run_command(of(line).values())
    assert told[:2] == ["clipload", "run"]
    assert _exit_code([*told[1:], "--dry-run"]) == 0
    assert Plan.from_toml(capsys.readouterr().out) == plan_of(line)


def test_validation_is_translated() -> None:
    line = (
        f"--mode multimodal --base_url http://h:1 --model m --timeout 30 {FLICKR} --validate --validate_samples 2"
        " --validate_group_size 3 --validation_dump d.txt --validation_distractors 4 --validate_start_group 58"
        " --validate_pick_file 7.jpg --seed 9 --concurrency 5 --warmup --warmup_iters 1"
    )
    assert of(line).validation() == shlex.split(
        "validate --base-url http://h:1 --api v1 --model m --timeout 30s --concurrency 5 --flickr-images-dir images"
        " --flickr-captions-file tokens.txt --samples 2 --group-size 3 --distractors 4 --start-group 58 --pick-file 7.jpg"
        " --seed 9 --dump d.txt"
    )
    by_path = of(f"--validate {FLICKR} --image_transport path/url").validation()
    assert " ".join(by_path).endswith("--image-transport path/url --seed 42 --dump ./sglang_mm_validation.txt")
    plain = of(f"--validate {FLICKR} --api native").validation()
    for words in ("--samples 1", "--group-size 5", "--distractors 2", "--start-group 0", "--seed 42"):
        assert words in " ".join(plain)
    assert plain[-2:] == ["--dump", "./sglang_mm_validation.txt"]
    assert {"--pick-file", "--model"} & set(plain) == set()


MISTAKES = [
    (f"{RANDOM} --base-ulr http://h:1", "--base-ulr", "--base-url"),
    (f"{RANDOM} --frobnicate", "--frobnicate", "--help"),
    (f"{RANDOM} --mode video", "--mode", "--help"),
    (f"{RANDOM} --num_samples many", "--num-samples", "--help"),
    (f"{RANDOM} --num_samples 0", "--num-samples", "at least 1"),
    (f"{RANDOM} --batch_size 0", "--batch-size", "at least 1"),
    (f"{RANDOM} --concurrency 0", "--concurrency", "at least 1"),
    (f"{RANDOM} --timeout 0", "--timeout", "longer"),
    (f"{RANDOM} --timeout -1", "--timeout", "write 10s"),
    (f"{RANDOM} --timeout nan", "--timeout", "write 10s"),
    (f"{RANDOM} --image_prep_workers 0", "--image-threads", "at least 1"),
    (f"{RANDOM} --api openai", "--api", "--mode text"),
    ("", "--flickr-images-dir", "Flickr8k.token.txt"),
    ("--flickr_images_dir nowhere", "--flickr-captions-file", "Flickr8k.token.txt"),
]


@pytest.mark.parametrize(("line", "flag", "hint"), MISTAKES, ids=[line or "nothing" for line, _, _ in MISTAKES])
def test_a_mistake_is_one_error_with_a_remedy(line: str, flag: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(shlex.split(line)) == EXIT_USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    error = shown.err[shown.err.index("clipload: ", shown.err.find("clipload run") + 1) :]
    assert flag in error
    assert hint in error
    assert "Traceback" not in error
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("flag", ["--api_key", "--api-key", "--api_k"])
@pytest.mark.parametrize("joined", [True, False])
def test_a_key_is_warned_of_and_masked(flag: str, joined: bool, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"{flag}={KEY}"] if joined else [flag, KEY]
    assert benchmark.main([*shlex.split(RANDOM), *words, "--base_url", "http://127.0.0.1:1"]) == EXIT_TARGET
    shown = capsys.readouterr()
    assert "warning: a key on the command line" in shown.err
    assert "CLIPLOAD_API_KEY='***' clipload run" in shown.err
    assert KEY not in shown.err + shown.out
    assert list(Path().iterdir()) == []
    assert of(f"{RANDOM} {shlex.join(words)}").key == KEY
    for hidden in (masked(["--seed", "1", *words, "--mode=text"]), without_key(["--seed", "1", *words, "--mode=text"])):
        assert KEY not in " ".join(hidden)
        assert [hidden[0], hidden[1], hidden[-1]] == ["--seed", "1", "--mode=text"]


def test_a_key_that_no_header_can_hold_is_refused_unseen(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main([*shlex.split(RANDOM), "--api_key", "open sesame"]) == EXIT_USAGE
    assert "open sesame" not in capsys.readouterr().err


# ---- the launcher


def launch(line: str) -> tuple[Any, Benchmark, tuple[int, ...]]:
    own, _, passed = line.partition(" -- ")
    given = launcher.parser().parse(shlex.split(own))
    return given, of(passed, given.workers), launcher._cores(given)


def test_each_worker_does_num_samples() -> None:
    core = str(allowed_cores()[0])
    given, both, cores = launch(f"--workers 3 --cores {core} -- {RANDOM} --num_samples 250 --batch_size 100 --concurrency 2")
    plan = plan_from(launcher.launcher_values(given, both, cores), None)
    assert (plan.workers, plan.concurrency, plan.num_samples, plan.requests) == (3, 6, 900, 9)
    assert both.asked == 750
    assert (plan.cores, plan.share_cores, plan.stagger) == ((allowed_cores()[0],), True, 0)


def test_the_launchers_flags_mean_what_they_meant() -> None:
    given, both, _ = launch(f"--workers 2 --use-taskset --stagger_sec 0.25 --warmup -- {RANDOM}".replace(" --warmup", ""))
    plan = plan_from(launcher.launcher_values(given, both, (4, 5, 6, 7, 9)), None)
    assert (plan.cores, plan.share_cores, plan.use_taskset, plan.stagger) == ((4, 7), False, True, Duration.seconds(0.25))
    assert (given.logs_dir, given.dry_run) == ("logs_pinned", False)
    alone, one, _ = launch(f"--workers 1 --stagger_sec 2 -- {RANDOM}")
    assert plan_from(launcher.launcher_values(alone, one, (0,)), None).stagger == 0


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 99), min_size=1, max_size=40, unique=True).map(tuple), st.integers(1, 50))
def test_cores_are_split_evenly_and_in_order(cores: tuple[int, ...], workers: int) -> None:
    parts = launcher.split_cores(cores, workers)
    assert len(parts) == workers
    sizes = [len(part) for part in parts]
    assert min(sizes) >= 1
    if len(cores) < workers:
        assert sizes == [1] * workers
        turns = [part[0] for part in parts]
        assert set(turns) == set(cores)
        assert max(map(turns.count, cores)) - min(map(turns.count, cores)) <= 1
    else:
        assert sum(parts, ()) == cores
        assert max(sizes) - min(sizes) <= 1
        assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    ("line", "flag", "hint"),
    [
        ("-- --seed 1", "--workers", "--help"),
        ("--workers 0", "--workers", "at least 1"),
        ("--workers 2 --base_url http://h:1", "--base-url", "after a lone --"),
        ("--workers 2 --cores 3-1", "1-3", ""),
        ("--workers 1 --cores 60000 -- --data_source random", "--cores", "choose from"),
        ("--workers 1 --script nowhere.py", "--script", "by its path"),
        ("--workers 1 --stagger_sec -1", "--stagger_sec", "0.5"),
        ("--workers 1 --stagger_sec inf", "--stagger_sec", "0.5"),
        ("--workers 1 -- --data_source random --what", "--what", "--help"),
        ("--workers 1", "--flickr-images-dir", "Flickr8k.token.txt"),
    ],
)
def test_a_launchers_mistake_starts_nothing(line: str, flag: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert launcher.main(shlex.split(line), SCRIPTS) == EXIT_USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert flag in shown.err
    assert hint in shown.err
    assert list(Path().iterdir()) == []


def test_a_rehearsal_masks_the_key_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    line = f"--workers 2 --dry-run -- {RANDOM} --api_key {KEY}"
    assert launcher.main(shlex.split(line), SCRIPTS) == 0
    shown = capsys.readouterr()
    assert KEY not in shown.out + shown.err
    assert shown.out.count("--api_key '***'") == 2
    assert [re.match(r"worker (\d): cores \d+: ", line)[1] for line in shown.out.splitlines()] == ["0", "1"]  # type: ignore[index]
    assert list(Path().iterdir()) == []


def test_a_program_of_that_name_here_comes_first() -> None:
    assert launcher.find_script("benchmark_clip_sglang.py", SCRIPTS) == SCRIPTS / "benchmark_clip_sglang.py"
    Path("benchmark_clip_sglang.py").write_text("")
    assert launcher.find_script("benchmark_clip_sglang.py", SCRIPTS) == Path("benchmark_clip_sglang.py").resolve()
    assert launcher.find_script("", SCRIPTS) == SCRIPTS / "benchmark_clip_sglang.py"
    assert launcher.find_script("make_photos.py", SCRIPTS) == SCRIPTS / "make_photos.py"
    with pytest.raises(PlanError, match="nowhere"):
        launcher.find_script("nowhere.py", SCRIPTS)


# ---- main.py


def test_local_embedding_is_translated() -> None:
    line = (
        "--backend clip --model m --batch-size 8 --device cpu --use-ipex True --amp bf16 --amx on --max-samples 9"
        " --flickr8k-images-dir i --flickr8k-captions-file t --flickr8k-captions-per-image 2 --flickr8k-modality multimodal"
        " --dump-txt-emb a.pt --dump-img-emb b.pt --verify"
    )
    words = embedding.translated(shlex.split(line))
    assert words[0] == "embed"
    assert words[-2:] == ["--overwrite", "--verify"]
    pairs = dict(zip(words[1:-2:2], words[2:-2:2]))
    assert pairs == {
        "--backend": "clip", "--model": "m", "--batch-size": "8", "--device": "cpu", "--use-ipex": "True", "--amp": "bf16",
        "--amx": "on", "--max-samples": "9", "--flickr-images-dir": "i", "--flickr-captions-file": "t",
        "--captions-per-image": "2", "--modality": "both", "--dump-txt-emb": "a.pt", "--dump-img-emb": "b.pt",
    }  # fmt: skip
    assert embedding.translated(["--use_ipex", "False"]) == ["embed", "--backend", "clip", "--use-ipex", "False"]


def test_a_mistake_of_main_leaves_no_folder(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["--flickr8k-images-dir no --flickr8k-captions-file no.txt --dump-txt-emb runs/t.pt", "--dump-txt-emb runs/t.pt"]
    for line in lines:
        assert embedding.main(shlex.split(line)) == EXIT_USAGE
        assert "remedy" in capsys.readouterr().err
        assert list(Path().iterdir()) == []


def test_the_page_names_every_command_and_flag() -> None:
    page = (ROOT / "docs" / "migrating.md").read_text()
    parsers = (benchmark.parser(), launcher.parser(), embedding.parser())
    flags = {action.option_strings[0] for parser in parsers for action in parser._actions} - {"-h", "--help"}
    missing = {flag for flag in flags if not re.search(re.escape(flag).replace(r"\-", "[-_]") + r"\b", page)}
    assert missing == set()
    names = {path.name for path in SCRIPTS.glob("*clip_sglang*")} | {"main.py"}
    assert {name for name in names if name not in page} == set()


def test_errors_are_of_the_house() -> None:
    with pytest.raises(CliploadError) as caught:
        of("stray words")
    assert "stray" not in str(caught.value)
