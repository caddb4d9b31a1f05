"""`clipload embed` as a process: somebody else's backend, kill -9, interrupts, bad input, and a real (tiny) model."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image as Pillow

from clipload.sources import SOURCES
from tests.backends.toy import install
from tests.servers import ROOT, command, environment

IMAGES, EACH = 30, 2


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip put the toy."""
    return install(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The flags of a small Flickr8k: noise pictures, two captions each."""
    folder = tmp_path_factory.mktemp("flickr")
    (folder / "images").mkdir()
    draws = np.random.default_rng(3)
    for i in range(IMAGES):
        Pillow.fromarray(draws.integers(0, 256, (40, 50, 3), np.uint8)).save(folder / "images" / f"{i:02}.jpg")
    lines = [f"{i:02}.jpg#{k}\tcaption {k} of picture {i} .\n" for i in range(IMAGES) for k in range(EACH)]
    (folder / "tokens.txt").write_text("".join(lines))
    return ["--flickr-images-dir", str(folder / "images"), "--flickr-captions-file", str(folder / "tokens.txt")]


Embed = Callable[..., Done]


@pytest.fixture
def embed(site: Path, tmp_path: Path) -> Embed:
    def embed(*flags: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Done:
        variables = environment({"PYTHONPATH": f"{ROOT}:{site}", "HF_HUB_OFFLINE": "1"} | dict(env or {}))
        done = subprocess.run(
            command("embed", *flags),
            capture_output=True,
            text=True,
            input=stdin,
            cwd=tmp_path,
            env=variables,
            timeout=100,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    return embed


DUMPS = ["--dump-txt-emb", "t.npy", "--dump-img-emb", "i.npy"]


@pytest.mark.slow
def test_an_installed_package_brings_a_backend(embed: Embed, dataset: list[str], tmp_path: Path) -> None:
    done = embed("--backend", "toy", *dataset, *DUMPS, "--verify", "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["backend"]["backend"] == "toy"
    assert document["parts"]["text"]["count"] == IMAGES * EACH
    assert document["verification"]["image"]["count"] == IMAGES
    assert set(document["verification"]["recall"]["text_retrieval"]) == {"1", "5", "10"}
    assert np.load(tmp_path / "t.npy").shape == (IMAGES * EACH, 8)
    unknown = embed("--backend", "toys", *dataset)
    assert (unknown.code, "did you mean 'toy'?" in unknown.err) == (2, True)
    for name, says in (("mute", "has no method encode"), ("broken", "cannot be imported")):
        refused = embed("--backend", name, *dataset)
        assert (refused.code, says in refused.err) == (2, True), refused.err


def test_kill_9_costs_one_batch(embed: Embed, dataset: list[str], tmp_path: Path) -> None:
    flags = ["--backend", "toy", *dataset, "--batch-size", "7"]
    assert embed(*flags, "--dump-txt-emb", "t0.npy", "--dump-img-emb", "i0.npy").code == 0
    killed = embed(*flags, *DUMPS, env={"TOY_DIES_AFTER": "4"})
    assert killed.code == -signal.SIGKILL
    assert [file.name for file in tmp_path.glob("?.npy*")] == ["t.npy.part"]
    other = embed(*flags, *DUMPS, "--normalize")
    assert (other.code, "normalized (--normalize): False there, True here" in other.err) == (2, True)
    killed = embed(*flags, *DUMPS, env={"TOY_DIES_AFTER": "8"})
    assert killed.code == -signal.SIGKILL
    assert "going on after 21 texts" in killed.err
    assert {file.name for file in tmp_path.glob("?.npy*")} == {"t.npy", "t.npy.json", "i.npy.part"}
    last = embed(*flags, *DUMPS, "--json")
    assert last.code == 0, last.err
    assert json.loads(last.out)["parts"]["text"]["embedded"] == 0
    for kind in "ti":
        assert (tmp_path / f"{kind}.npy").read_bytes() == (tmp_path / f"{kind}0.npy").read_bytes()
    assert list(tmp_path.glob("*.part")) == []


def test_a_vector_that_is_none(embed: Embed, dataset: list[str], tmp_path: Path) -> None:
    done = embed("--backend", "toy", *dataset, *DUMPS, env={"TOY_SPOILS": "caption 0 of picture 3 ."})
    assert (done.code, "the vector of 03.jpg#0 is zero or not finite" in done.err) == (2, True)
    assert not (tmp_path / "t.npy").exists()


@pytest.mark.slow
def test_dumps_of_an_older_tool(embed: Embed, tmp_path: Path) -> None:
    draws = np.random.default_rng(2)
    images = draws.normal(size=(20, 6)).astype(np.float32)
    np.save(tmp_path / "i.npy", images)
    np.save(tmp_path / "t.npy", np.repeat(images, 5, axis=0) + 0.01)
    good = embed("--verify", *DUMPS)
    assert good.code == 0, good.err
    assert "captions 5 by 5 belong to the images in order" in good.out
    assert good.out.count("1.0000  1.0000  1.0000") == 2
    assert "occur more than once, in 100 rows: 20" in good.out
    images[3] = np.nan
    np.save(tmp_path / "i.npy", images)
    bad = embed("--verify", *DUMPS, "--json")
    assert bad.code == 1
    found = json.loads(bad.out)["verification"]
    assert (found["recall"], found["image"]["not_finite"]) == (None, ["row 3"])
    assert embed("--verify", "--dump-txt-emb", "t.npy").code == 0
    missing = embed("--verify", "--dump-txt-emb", "none.npy")
    assert (missing.code, "none.npy is not there" in missing.err) == (2, True)


@pytest.mark.slow
def test_dumps_of_two_models(embed: Embed, dataset: list[str]) -> None:
    assert embed("--backend", "toy", *dataset, "--modality", "text", "--dump-txt-emb", "t.npy").code == 0
    flags = ["--modality", "image", "--dump-img-emb", "i.npy"]
    assert embed("--backend", "toy", *dataset, *flags, env={"TOY_DIM": "9"}).code == 0
    done = embed("--verify", *DUMPS)
    assert "vectors of 8 and 9 numbers: not one model's" in done.out


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--flickr-captions-file", "none.txt"], "cannot read none.txt"),
        pytest.param([], "nothing says what to embed", marks=pytest.mark.slow),
        (
            ["--backend", "toy", "--data-source", "random", "--modality", "text", "--dump-txt-emb", "t.bin"],
            "no dump of that suffix",
        ),
        (["--data-source", "random", "--max-samples", "2"], "no model is named"),
        (["--data-source", "random", "--max-samples", "2", "--model", "./none"], "./none is no directory"),
        pytest.param(
            ["--data-source", "random", "--max-samples", "2", "--model", "some/clip"],
            "the hub does not give it",
            marks=pytest.mark.slow,
        ),
        pytest.param(["--data-source", "random", "--max-samples", "2", "--model", "."], "config.json", marks=pytest.mark.slow),
        pytest.param(
            ["--data-source", "random", "--max-samples", "2", "--use-ipex", "maybe"],
            "--use-ipex: 'maybe'",
            marks=pytest.mark.slow,
        ),
        (["--data-source", "random", "--max-samples", "2", "--amp", "fp16", "--amx", "off"], "five times slower"),
        (["--batch_size", "x"], "--batch-size"),
    ],
)
def test_mistakes_leave_nothing_behind(flags: list[str], says: str, embed: Embed, tmp_path: Path) -> None:
    done = embed(*flags)
    assert (done.code, done.out) == (2, ""), done.err
    assert says in done.err
    assert "remedy: " in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_real_model_and_the_model_of_the_environment(
    embed: Embed, dataset: list[str], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """The whole of it: torch, --amx before it is imported, .pt, a text that is cut, a bad picture, and verification."""
    torch = pytest.importorskip("torch", reason="the extra `local` is not installed")
    tokens = tmp_path / "tokens.txt"
    tokens.write_text("00.jpg#0\t" + "long " * 90 + "\n01.jpg#0\ta dog\n02.jpg#0\ta cat\nbad.jpg#0\ta bird\n")
    images = tmp_path / "images"
    images.mkdir()
    for i in range(3):
        (images / f"{i:02}.jpg").symlink_to(Path(dataset[1]) / f"{i:02}.jpg")
    (images / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    flags = ["--flickr_images_dir", "images", "--flickr_captions_file", "tokens.txt", "--amx", "off", "--backend", "clip"]
    flags += ["--dump-txt-emb", "t.pt", "--dump-img-emb", "i.pt", "--normalize", "--use-ipex", "False", "--num-threads", "1"]
    done = embed(*flags, "--verify", "--json", env={"CLIPLOAD_MODEL": str(tiny_checkpoint)})
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["backend"]["threads"] == 1
    assert document["parts"]["text"]["truncated"] == ["00.jpg#0"]
    assert len(document["parts"]["image"]["skipped"]) == 1
    assert any("1 captions without an image" in note for note in document["verification"]["notes"])
    tensor = torch.load(tmp_path / "i.pt", weights_only=True)
    assert (tensor.dtype, tensor.shape) == (torch.float32, (3, 32))
    assert tensor.norm(dim=1).tolist() == pytest.approx([1, 1, 1], abs=1e-5)
    assert json.loads((tmp_path / "i.pt.json").read_text())["facts"]["versions"]["torch"] == torch.__version__
    assert f"on cpu, fp32, {document['backend']['isa']}, 1 threads" in done.err


def test_it_starts_without_torch(site: Path) -> None:
    """`clipload embed` with a backend that needs none imports neither torch nor transformers."""
    program = (
        "import sys; from clipload.cli import main\n"
        "try: main(['embed', '--backend', 'toy', '--data-source', 'random', '--max-samples', '3'])\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "assert not {'torch', 'transformers', 'pyarrow'} & set(sys.modules)"
    )
    env = environment({"PYTHONPATH": f"{ROOT}:{site}"})
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60, env=env)


def test_help_names_every_flag(embed: Embed) -> None:
    shown: Any = embed("--help")
    assert shown.code == 0
    for flag in ("--amp", "--amx", "--use-ipex", "--compile", "--dump-txt-emb", "--verify", "--normalize", "--num-threads"):
        assert flag in shown.out


@pytest.mark.skipif("folder" not in SOURCES or "jsonl" not in SOURCES, reason="these sources are not part of this checkout")
def test_a_folder_a_file_of_lines_and_stdin(embed: Embed, dataset: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "pictures" / "sub"
    folder.mkdir(parents=True)
    (folder / "x.jpg").write_bytes((Path(dataset[1]) / "00.jpg").read_bytes())
    (folder / "x.txt").write_text("a caption\n")
    (folder / "y.jpg").write_bytes((Path(dataset[1]) / "01.jpg").read_bytes())
    lines = '{"text": "one", "image": "pictures/sub/x.jpg"}\n\n{"text": "two"}\n{"image": "pictures/sub/none.jpg"}\n'
    (tmp_path / "lines.jsonl").write_text(lines)

    def names(*flags: str, stdin: str = "") -> list[str]:
        done = embed("--backend", "toy", "--overwrite", *flags, stdin=stdin)
        assert done.code == 0, done.err
        return [str(name) for name in json.loads((tmp_path / f"{flags[-1]}.json").read_text())["names"]]

    assert names("--data", "pictures", "--modality", "image", "--dump-img-emb", "i.npy") == ["sub/x.jpg", "sub/y.jpg"]
    assert names("--data", "pictures", "--modality", "text", "--dump-txt-emb", "t.npy") == ["sub/x.jpg#0"]
    assert names("--data", "lines.jsonl", "--modality", "text", "--dump-txt-emb", "t.npy") == ["1", "3"]
    assert names("--data", "-", "--modality", "image", "--dump-img-emb", "i.npy", stdin=lines) == ["1"]
