"""Every command line of the older guide that has to do with these scripts, typed as it stands there.

Only what a machine must decide for itself is put in: the server's address, the cores, the number of samples, the dataset.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image as Pillow

from clipload import archive
from clipload.cli.predecessor import benchmark
from clipload.host import allowed_cores
from clipload.reports.text import four_lines
from tests.scripts.names import SCRIPTS, Done, command_of, perform, typed
from tests.servers import Server, environment, running_server

URL = "http://127.0.0.1:30000"
SECTION_3 = """python benchmark_clip_sglang.py \
  --mode multimodal \
  --data_source random \
  --base_url http://127.0.0.1:30000 \
  --model openai/clip-vit-base-patch32 \
  --api v1 \
  --num_samples 1000 \
  --batch_size 64 \
  --image_transport data-url"""
SECTION_4 = """python benchmark_clip_sglang_launcher.py \
  --workers 2 --cores 16-17 \
  --script benchmark_clip_sglang.py \
  --logs_dir logs_pinned \
  -- --base_url http://127.0.0.1:30000 --model openai/clip-vit-base-patch32 \
     --api v1 --mode multimodal --data_source random --num_samples 10000 --batch_size 100"""
SECTION_4_DRY = (
    "python benchmark_clip_sglang_launcher.py --workers 4 --dry-run -- "
    "--base_url http://127.0.0.1:30000 --model openai/clip-vit-base-patch32"
)
SECTION_5 = """python benchmark_clip_sglang.py \
  --mode multimodal --data_source flickr8k \
  --base_url http://127.0.0.1:30000 --model openai/clip-vit-large-patch14-336 \
  --api v1 \
  --flickr_images_dir /path/to/Flicker8k_Dataset \
  --flickr_captions_file /path/to/Flickr8k.token.txt \
  --validate --validate_samples 1 --validate_group_size 5 \
  --validation_dump ./sglang_mm_validation.txt \
  --validation_distractors 2 --validate_start_group 58 \
  --warmup --warmup_iters 1"""
SECTION_6 = """python benchmark_clip_sglang.py \
  --mode multimodal --data_source random \
  --base_url http://127.0.0.1:30000 --model openai/clip-vit-base-patch32 \
  --api v1 --num_samples 5000 --batch_size 128 --clip_variant base"""
SECTION_6_LARGE = SECTION_6.replace("--clip_variant base", "--clip_variant large-336")
SECTION_8 = "numactl -C 0-31 -m 0 " + SECTION_6
SECTION_8_LOCAL = "--device cpu --use-ipex True --amp bf16 --amx on"
SECTION_10 = "--dump-txt-emb runs/clip_text_emb.pt --dump-img-emb runs/clip_img_emb.pt"
SECTION_11 = """python benchmark_clip_sglang_launcher.py --workers 2 --cores 16-17 \
    --script benchmark_clip_sglang.py --logs_dir logs_batch_${BATCH_SIZE} -- \
    --base_url=http://127.0.0.1:30000 --model=openai/clip-vit-base-patch32 \
    --api=v1 --mode=multimodal --data_source=random --image_transport=data-url \
    --num_samples=10000 --batch_size=$BATCH_SIZE --clip_variant base"""
SECTION_12 = """python benchmark_clip_sglang.py \
  --mode multimodal --data_source flickr8k \
  --base_url=http://127.0.0.1:30000 --model=openai/clip-vit-base-patch32 \
  --api=v1 \
  --flickr_images_dir /path/to/Flicker8k_Dataset \
  --flickr_captions_file /path/to/Flickr8k.token.txt \
  --validate --validate_samples 1 --validate_group_size 5 \
  --validation_dump ./sglang_mm_validation.txt \
  --validation_distractors 2 --validate_start_group 58 \
  --warmup --warmup_iters 1"""
BATCHES = (1, 2, 4, 8, 16, 32, 64, 100, 128)

SUMMARY = re.compile(
    r"==== Summary ====\n"
    r"mode=(?P<mode>\w+), data_source=(?P<source>\w+), num_samples=(?P<asked>\d+), batch_size=(?P<batch>\d+)\n"
    r"shape=\((?P<rows>\d+), (?P<dim>\d+)\) \(dim=(?P=dim)\)\n"
    r"time\(s\)=(?P<time>\d+\.\d{4}), throughput\(samples/s\)=(?P<rate>\d+\.\d\d)\n"
)
TWO_CORES = ",".join(str(core) for core in (allowed_cores() * 2)[:2])
DISTINCT = len(allowed_cores()) > 1
UNSOUND = 5  # on a machine that is busy the generator may not be believed; that changes no count
DIM = 16


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server("null", "--dim", str(DIM)) as server:
        yield server


@pytest.fixture(scope="module")
def flickr(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three noise pictures with two captions each, as main.py's flags."""
    folder = tmp_path_factory.mktemp("flickr")
    draws = np.random.default_rng(3)
    for i in range(3):
        Pillow.fromarray(draws.integers(0, 256, (40, 50, 3), np.uint8)).save(folder / f"{i}.jpg")
    lines = [f"{i}.jpg#{k}\tcaption {k} of picture {i} .\n" for i in range(3) for k in range(2)]
    (folder / "tokens.txt").write_text("".join(lines))
    return ["--flickr8k-images-dir", str(folder), "--flickr8k-captions-file", str(folder / "tokens.txt")]


def here(line: str, server: Server, samples: int) -> str:
    """The line with this machine's address, cores and patience."""
    cores = TWO_CORES if DISTINCT else TWO_CORES.partition(",")[0]
    line = line.replace(URL, server.url).replace("--cores 16-17", f"--cores {cores}")
    return re.sub(r"(--num_samples[ =])\d+", rf"\g<1>{samples}", line)


def summaries(text: str) -> list[re.Match[str]]:
    found = list(SUMMARY.finditer(text))
    assert "".join(match[0] for match in found) == text, "nothing but summaries"
    return found


def check(done: Done, *, asked: int, batch: int, rows: int) -> re.Match[str]:
    """One summary on stdout, whose figures belong together; the new command on stderr."""
    assert done.code in (0, UNSOUND), done.err
    assert "clipload: this is now\n  clipload run " in done.err
    (found,) = summaries(done.out)
    assert (found["mode"], found["source"]) == ("multimodal", "random")
    assert [int(found[name]) for name in ("asked", "batch", "rows", "dim")] == [asked, batch, rows, DIM]
    assert float(found["time"]) == pytest.approx(rows / float(found["rate"]), rel=0.01, abs=0.000051), "both are rounded"
    return found


@pytest.mark.parametrize(
    ("line", "samples", "batch", "rows"),
    [
        pytest.param(SECTION_3, 100, 64, 128, id="3"),
        pytest.param(SECTION_6, 128, 128, 128, id="6", marks=pytest.mark.slow),
        pytest.param(SECTION_6_LARGE, 128, 128, 128, id="6 large", marks=pytest.mark.slow),
        pytest.param(SECTION_8.replace("0-31", str(allowed_cores()[0])), 128, 128, 128, id="8", marks=pytest.mark.slow),
    ],
)
def test_one_process(server: Server, tmp_path: Path, line: str, samples: int, batch: int, rows: int) -> None:
    if line.startswith("numactl") and not shutil.which("numactl"):  # what it does to the command is to bind it
        line = line.replace("numactl -C", "taskset -c").replace(" -m 0", "")
    done = typed(here(line, server, samples), tmp_path)
    check(done, asked=samples, batch=batch, rows=rows)
    (directory,) = (tmp_path / "runs").iterdir()
    run = archive.load(directory)
    assert run.plan.clip_variant == ("large-336" if "large" in line else "base")
    assert done.out.splitlines()[2:] == four_lines(run).splitlines()[2:], "what was printed is what was saved"


def test_two_pinned_workers(server: Server, tmp_path: Path) -> None:
    line = here(SECTION_4, server, 250).replace("-- --base_url", "--stagger_sec 0.2 --use-taskset -- --warmup --base_url")
    done = typed(line, tmp_path)
    total = check(done, asked=500, batch=100, rows=600)
    logs = tmp_path / "logs_pinned"
    for worker in range(2):
        (one,) = summaries((logs / f"worker_{worker}.out").read_text())
        assert (one["asked"], one["batch"], one["rows"]) == ("250", "100", "300")
        assert (logs / f"worker_{worker}.err").read_text() == ""
        assert float(one["time"]) <= float(total["time"])
    assert float(total["time"]) >= 0.2, "the second worker began so much later"
    (directory,) = (path for path in logs.iterdir() if path.is_dir())
    run = archive.load(directory)
    assert (run.plan.workers, run.plan.use_taskset, run.plan.warmup_requests) == (2, True, 16)
    assert [account.phases["measure"]["samples"] for account in run.workers.values()] == [300, 300]
    if DISTINCT:
        assert [worker["cores"] for worker in run.facts["workers"]] == [[int(core)] for core in TWO_CORES.split(",")]


@pytest.mark.slow
def test_fewer_cores_than_workers_and_another_api(server: Server, tmp_path: Path) -> None:
    """They take turns, with a warning; /encode names no model, whatever the old line said."""
    line = here(SECTION_4, server, 2).replace("--workers 2", "--workers 3").replace("--api v1", "--sgl-api native")
    done = typed(re.sub(r"--cores \S+", f"--cores {allowed_cores()[0]}", line), tmp_path)
    check(done, asked=6, batch=2, rows=6)
    assert "3 workers share 1 cores" in done.err
    assert "names no model" in done.err
    assert [len(summaries(path.read_text())) for path in sorted(tmp_path.glob("logs_pinned/*.out"))] == [1, 1, 1]


def test_a_dry_run_starts_nothing(tmp_path: Path) -> None:
    done = typed(SECTION_4_DRY, tmp_path)
    assert done.code == 0, done.err
    script, passed = SCRIPTS / "benchmark_clip_sglang.py", f"--base_url {URL} --model openai/clip-vit-base-patch32"
    lines = done.out.splitlines()
    assert [re.sub(r"cores \d+", "cores N", line) for line in lines] == [
        f"worker {worker}: cores N: {sys.executable} {script} {passed}" for worker in range(4)
    ]
    assert "--workers 4" in done.err
    assert ("share" in done.err) is (len(allowed_cores()) < 4)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_step_of_the_sweep_as_the_guide_has_it(server: Server, tmp_path: Path) -> None:
    batch = 100
    line = here(SECTION_11, server, 100).replace("${BATCH_SIZE}", str(batch)).replace("$BATCH_SIZE", str(batch))
    check(typed(line, tmp_path), asked=200, batch=batch, rows=200)
    assert (tmp_path / f"logs_batch_{batch}" / "worker_1.out").is_file()


def sweep(server: Server, cwd: Path, *flags: str, batches: tuple[int, ...]) -> Done:
    cores = TWO_CORES if DISTINCT else TWO_CORES.partition(",")[0]
    env = {"BASE_URL": server.url, "CORES": cores, "NUM_SAMPLES": "16"}
    env |= {} if batches == BATCHES else {"BATCH_SIZES": " ".join(map(str, batches))}
    return perform(["bash", str(SCRIPTS / "run_sglang_clip_cpu.sh"), *flags], cwd, env)


@pytest.mark.slow
@pytest.mark.parametrize("batches", [(2, 16), BATCHES])
def test_the_sweep_ends_with_a_table_and_a_picture(server: Server, tmp_path: Path, batches: tuple[int, ...]) -> None:
    done = sweep(server, tmp_path, batches=batches)
    assert done.code in (0, UNSOUND), done.err
    head, _, table = done.out.rpartition("batch_size   samples/s")
    assert [int(found["batch"]) for found in summaries(head.rstrip(" "))] == [min(batch, 16) for batch in batches]
    rows = [cells for line in table.splitlines()[1:] if (cells := line.split())[0].isdigit()]  # the others hold intervals
    assert [int(row[0]) for row in rows] == sorted(min(batch, 16) for batch in batches)
    assert sorted(path.name for path in tmp_path.glob("logs_batch_*")) == sorted(f"logs_batch_{n}" for n in batches)
    with Pillow.open(tmp_path / "batch_size_throughput.png") as picture:
        assert (picture.format, picture.width > 1000) == ("PNG", True)
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 20, "something is drawn"


@pytest.mark.slow
def test_a_sweep_without_cores_or_server_says_so_and_draws_nothing(server: Server, tmp_path: Path) -> None:
    done = perform(["bash", str(SCRIPTS / "run_sglang_clip_cpu.sh")], tmp_path, {"CORES": "60000"})
    assert done.code == 2
    assert "choose from" in done.err
    done = sweep(server, tmp_path, "--base_url", "http://127.0.0.1:1", batches=(1, 2))
    assert done.code == 3
    assert "is the server running" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def sixty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset in which there is a group 58: sixty small pictures with five captions each."""
    folder = tmp_path_factory.mktemp("sixty")
    draws = np.random.default_rng(5)
    (folder / "images").mkdir()
    for i in range(60):
        Pillow.fromarray(draws.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / "images" / f"{i:03}.jpg")
    lines = [f"{i:03}.jpg#{k}\tcaption {k} of picture {i} .\n" for i in range(60) for k in range(5)]
    (folder / "tokens.txt").write_text("".join(lines))
    return folder


EACH_VALIDATION = pytest.mark.parametrize(
    "line",
    [
        pytest.param(SECTION_5, id="5"),
        pytest.param(SECTION_12, id="12", marks=pytest.mark.slow),
        pytest.param("", id="run_sglang_clip_val.sh", marks=pytest.mark.slow),
    ],
)


@EACH_VALIDATION
def test_a_validation_dumps_the_group_of_the_guide(server: Server, tmp_path: Path, sixty: Path, line: str) -> None:
    images, captions = sixty / "images", sixty / "tokens.txt"
    if line:
        line = line.replace("/path/to/Flicker8k_Dataset", str(images)).replace("/path/to/Flickr8k.token.txt", str(captions))
        done = typed(here(line, server, 1), tmp_path)
    else:
        places = {"FLICKR_IMAGES_DIR": str(images), "FLICKR_CAPTIONS_FILE": str(captions), "BASE_URL": server.url}
        done = perform(["bash", str(SCRIPTS / "run_sglang_clip_val.sh")], tmp_path, places)
    assert done.code == 0, done.err
    head, *scores, last = (tmp_path / "sglang_mm_validation.txt").read_text().split("\n")[:-1]
    assert (head, last) == ("[GROUP 58] image=058.jpg", "")
    found = [re.fullmatch(r"-?[01]\.\d{6}\t(.+)", score) for score in scores]
    texts = [match[1] if match else "" for match in found]
    assert texts[:5] == [f"caption {k} of picture 58 ." for k in range(5)]
    assert len(texts) == 7
    assert all(text and "picture 58" not in text for text in texts[5:])


@EACH_VALIDATION
def test_a_validation_without_its_dataset_leaves_no_dump(server: Server, tmp_path: Path, line: str) -> None:
    """The paths of the guide are places to be filled in."""
    if line:
        done = typed(here(line, server, 1), tmp_path)
    else:
        places = {name: f"/path/to/{name}" for name in ("FLICKR_IMAGES_DIR", "FLICKR_CAPTIONS_FILE")} | {"BASE_URL": server.url}
        done = perform(["bash", str(SCRIPTS / "run_sglang_clip_val.sh")], tmp_path, places)
    assert done.code == 2
    for word in ("clipload: this is now\n  clipload validate ", "--start-group 58", "--dump ./sglang_mm_validation.txt"):
        assert word in done.err
    assert "--warmup changes nothing" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("images", "captions", "hint"),
    [
        ("images", "nowhere.txt", "Flickr8k.token.txt"),
        ("nowhere", "tokens.txt", "Flicker8k_Dataset"),
        (".", "tokens.txt", "right folder"),
        ("images", "commas.txt", "line 1"),
    ],
)
def test_a_dataset_that_is_not_there_is_named(
    server: Server, tmp_path: Path, images: str, captions: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.jpg").write_bytes(b"")
    (tmp_path / "tokens.txt").write_text("1.jpg#0\ta beach .\n")
    (tmp_path / "commas.txt").write_text("1.jpg,a beach\n")
    before = sorted(tmp_path.rglob("*"))
    places = ["--flickr_images_dir", str(tmp_path / images), "--flickr_captions_file", str(tmp_path / captions)]
    with contextlib.chdir(tmp_path):
        assert benchmark.main(["--base_url", server.url, *places]) == 2
    shown = capsys.readouterr()
    assert (shown.out, hint in shown.err) == ("", True), shown.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_ctrl_c_ends_the_workers_and_what_was_measured_is_there(server: Server, tmp_path: Path) -> None:
    line = (
        here(SECTION_4, server, 10**8).replace("--mode multimodal", "--mode text").replace("--batch_size 100", "--batch_size 1")
    )
    with subprocess.Popen(
        command_of(line), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            assert process.stderr is not None
            assert any("ok/s" in said for said in process.stderr)
            workers = psutil.Process(process.pid).children()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, err
    assert psutil.wait_procs(workers, 10)[1] == []
    (total,) = summaries(out)
    parts = [summaries((tmp_path / "logs_pinned" / f"worker_{worker}.out").read_text())[0] for worker in range(2)]
    assert sum(int(part["rows"]) for part in parts) == int(total["rows"]) > 0


# ---- section 2: what the guide has its users install


SECTION_2 = ("torch", "transformers", "pillow", "requests", "intel-extension-for-pytorch", "openai")
NEEDLESS = {"requests"}  # whose work aiohttp and the stream transport do; migrating.md says so


def test_what_the_guide_installs_comes_with_an_extra_or_is_said_to_be_needless() -> None:
    required = {re.split(r"[^\w-]", line, maxsplit=1)[0].lower() for line in metadata.requires("clipload") or []}
    assert set(SECTION_2) - required == NEEDLESS
    table = (SCRIPTS.parent / "docs" / "migrating.md").read_text()
    assert all(f"`{name}`" in table for name in SECTION_2)


# ---- main.py


@pytest.mark.slow
def test_local_vectors_are_dumped_as_before(tmp_path: Path, flickr: list[str]) -> None:
    torch = pytest.importorskip("torch", reason="the extra `local` is not installed")
    flags = f"--model clipload/random-clip-tiny --batch-size 4 --use-ipex False --max-samples 2 {SECTION_10}"
    done = typed(f"python main.py --backend clip --device cpu {flags} {' '.join(flickr)}", tmp_path)
    assert done.code == 0, done.err
    assert "clipload: this is now\n  clipload embed --backend clip" in done.err
    texts, images = (torch.load(tmp_path / f"runs/clip_{kind}_emb.pt", weights_only=True) for kind in ("text", "img"))
    assert (texts.dtype, len(texts), len(images)) == (torch.float32, 4, 2)
    assert texts.shape[1] == images.shape[1]
    assert bool(torch.isfinite(texts).all())


def test_the_fast_flags_are_understood(tmp_path: Path, flickr: list[str]) -> None:
    """Where Intel's extension is not, --use-ipex True says so and what to do: it was asked for in so many words."""
    pytest.importorskip("torch", reason="the extra `local` is not installed")
    line = f"python main.py --model clipload/random-clip-tiny --batch-size 4 {SECTION_8_LOCAL} {' '.join(flickr)}"
    done = typed(line, tmp_path)
    assert (done.code == 0) or (done.code == 2 and "ipex" in done.err.lower() and "remedy" in done.err), done.err
    assert "--use-ipex True" in done.err


# ---- keys


def test_a_key_reaches_the_server_and_nothing_else(tmp_path: Path) -> None:
    key = "sesame-open-thyself"
    (tmp_path / "key").write_text(key)
    with running_server("sim", "--law", "constant(1ms)", "--dim", "8", "--api-key-file", str(tmp_path / "key")) as server:
        (tmp_path / "key").unlink()
        line = (
            here(SECTION_4, server, 4).replace("--mode multimodal", "--mode text").replace("--batch_size 100", "--batch_size 1")
        )
        refused = typed(line, tmp_path)
        assert (refused.code, list(tmp_path.iterdir())) == (3, []), refused.err
        assert "CLIPLOAD_API_KEY" in refused.err
        done = typed(f"{line} --api_key {key} --debug", tmp_path)
    assert done.code in (0, UNSOUND), done.err
    assert "debug: 200" in done.err
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 6
    for data in (done.out.encode(), done.err.encode(), *(path.read_bytes() for path in written)):
        assert key.encode() not in data
