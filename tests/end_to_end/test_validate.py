"""`clipload validate` against reference servers and servers that lie: groups, retrieval, parity, and every mistake.

In this process, where torch is imported once for all; what a shell sees is tried with a process of its own.
"""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image as Pillow

from clipload import dumps
from clipload.cli import _exit_code, with_dashes
from clipload.cli.examples import VALIDATIONS
from tests.servers import ROOT, Server, command, environment, running_server
from tests.validation.liars import Liar, honest, lying

IMAGES, EACH = 14, 3
TINY = "clipload/random-clip-tiny"


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


class Place(NamedTuple):
    folder: Path
    flags: list[str]


@pytest.fixture(scope="module")
def flickr(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Noise pictures with three captions each, and one of every oddity."""
    folder = tmp_path_factory.mktemp("flickr")
    (folder / "images").mkdir()
    draws = np.random.default_rng(3)
    lines = []
    for i in range(IMAGES):
        Pillow.fromarray(draws.integers(0, 256, (40, 50, 3), np.uint8)).save(folder / "images" / f"{i:02}.jpg")
        lines += [f"{i:02}.jpg#{k}\tcaption {k} of picture {i} .\n" for k in range(EACH)]
    lines[4] = "01.jpg#1\tcaption 0 of picture 3 .\n"  # as line 10
    (folder / "images" / "99.jpg").write_bytes(b"\xff\xd8\xff")
    lines += [f"05.jpg.1#{k}\tno such image {k}\n" for k in range(2)] + ["50.jpg#0\tgone\n", "99.jpg#0\tbroken\n"]
    (folder / "tokens.txt").write_text("".join(lines))
    return Place(folder, places(folder))


def places(folder: Path) -> list[str]:
    return ["--flickr-images-dir", str(folder / "images"), "--flickr-captions-file", str(folder / "tokens.txt")]


@pytest.fixture(scope="module")
def sim() -> Iterator[Server]:
    """Vectors that are hashes of the items, so that they do not depend on who is asked when."""
    with running_server("sim", "--law", "constant(1ms)", "--servers", "8", "--dim", "24") as server:
        yield server


@pytest.fixture
def liar() -> Iterator[Liar]:
    with lying() as server:
        yield server


Validate = Callable[..., Done]


@pytest.fixture
def validate(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Validate:
    monkeypatch.chdir(tmp_path)
    for name in ("CLIPLOAD_MODEL", "CLIPLOAD_BASE_URL", "CLIPLOAD_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def validate(*flags: str, verb: str = "validate") -> Done:
        code = _exit_code(with_dashes([verb, *flags]))
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err, shown.err
        return Done(code, shown.out, shown.err)

    return validate


# ---- groups


def test_groups(validate: Validate, flickr: Place, sim: Server, tmp_path: Path) -> None:
    shared = ["--base_url", sim.url, *flickr.flags, "--group-size", "2", "--distractors", "3"]
    flags = [*shared, "--samples", "4"]
    done = validate(*flags, "--start-group", "3", "--dump", "d.txt", "--json")
    assert done.code == 0, done.err
    dump = (tmp_path / "d.txt").read_text()
    blocks = [block.split("\n") for block in dump.removesuffix("\n\n").split("\n\n")]
    # sorted: …, 04.jpg, 05.jpg, 05.jpg.1 (which is not there), 06.jpg
    assert [block[0] for block in blocks] == [
        f"[GROUP {n}] image={name}.jpg" for n, name in ((3, "03"), (4, "04"), (5, "05"), (7, "06"))
    ]
    assert all(len(block) == 1 + 2 + 3 for block in blocks)
    assert [line.split("\t")[1] for line in blocks[0][1:3]] == ["caption 0 of picture 3 .", "caption 1 of picture 3 ."]
    assert all("picture 3" not in line for line in blocks[0][3:])
    document = done.document
    assert [group["scores"][0]["score"] for group in document["groups"]] == pytest.approx(
        [float(block[1].split("\t")[0]) for block in blocks], abs=1e-6
    )
    assert "pairs       20 of 20" in done.err
    for seed, concurrency, same in (("42", "1", True), ("42", "16", True), ("43", "4", False)):
        assert validate(*flags, "--start-group", "3", "--dump", "e.txt", "--seed", seed, "--concurrency", concurrency).code == 0
        assert ((tmp_path / "e.txt").read_text() == dump) is same, (seed, concurrency)
    assert validate(*shared, "--pick-file", "04.jpg", "--dump", "f.txt").code == 0
    assert (tmp_path / "f.txt").read_text() == "\n".join([*blocks[1], "", ""]), "a group is the same wherever one begins"


def test_oddities_are_named_with_their_lines_and_counted(validate: Validate, flickr: Place, sim: Server) -> None:
    done = validate("--base-url", sim.url, *flickr.flags, "--samples", "20")
    assert done.code == 0, done.err
    last = IMAGES * EACH
    for words in (
        "names without an image's suffix: 1",
        f"05.jpg.1 (lines {last + 1}, {last + 2})",
        "images that are not there: 2",
        f"50.jpg (line {last + 3}): named in the captions but not in the folder",
        "images that cannot be read: 1",
        f"99.jpg (line {last + 4}): cannot be read",
        "captions that stand there more than once: 1",
        "lines 5, 10: 'caption 0 of picture 3 .'",
        f"{IMAGES} of 20 groups: the dataset ends",
    ):
        assert words in done.out, done.out


def test_a_file_that_is_not_there_falls_back(validate: Validate, flickr: Place, sim: Server) -> None:
    done = validate("--base-url", sim.url, *flickr.flags, "--pick-file", "none.jpg", "--start-group", "2", "--json")
    assert (done.code, done.document["groups"][0]["image"]) == (0, "02.jpg")
    assert "no image is called 'none.jpg'; starting at group 2, 02.jpg" in done.document["notes"][0]


@pytest.mark.parametrize("api", ["v1", pytest.param("native", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_scores_are_the_models_own(api: str, validate: Validate, flickr: Place, served: Server, tiny_checkpoint: Path) -> None:
    """The same cosines as `clipload embed` gives on the same model directory."""
    done = validate("--base-url", served.url, "--api", api, *flickr.flags, "--samples", "3", "--distractors", "0", "--json")
    assert done.code == 0, done.err
    kept = ["--dump-txt-emb", "t.npy", "--dump-img-emb", "i.npy", "--normalize", "--max-samples", "3"]
    assert validate(*flickr.flags, *kept, "--model", str(tiny_checkpoint), verb="embed").code == 0
    texts, images = np.load("t.npy"), np.load("i.npy")
    expected = [[float(texts[EACH * i + k] @ images[i]) for k in range(EACH)] for i in range(3)]
    for group, scores in zip(done.document["groups"], expected):
        assert [one["score"] for one in group["scores"]] == pytest.approx(scores, abs=1e-5)


@pytest.mark.slow
def test_images_by_path(validate: Validate, flickr: Place, opens: Server, served: Server) -> None:
    flags = [*flickr.flags, "--samples", "2", "--json"]
    told = validate("--base-url", opens.url, *flags, "--image-transport", "path/url").document["groups"]
    sent = validate("--base-url", opens.url, *flags).document["groups"]
    for one, other in zip(told, sent):
        assert [s["score"] for s in one["scores"]] == pytest.approx([s["score"] for s in other["scores"]], abs=1e-5)
    refused = validate("--base-url", served.url, *flags, "--image-transport", "path")
    assert refused.code == 3


def test_a_server_that_does_not_look_at_images_is_noticed(validate: Validate, flickr: Place) -> None:
    with running_server("null", "--dim", "8") as server:
        done = validate("--base-url", server.url, *flickr.flags, "--samples", "2")
    assert (done.code, "does the server look at them?" in done.out) == (0, True)


# ---- retrieval and parity


def test_parity_and_retrieval_with_the_model_here(
    validate: Validate, flickr: Place, served: Server, tiny_checkpoint: Path
) -> None:
    """Server and `clipload embed` on one model directory; the same recall by both ways."""
    flags = ["--base-url", served.url, *flickr.flags]
    done = validate(*flags, "--recall", "--against", "local", "--model", str(tiny_checkpoint), "--json")
    assert done.code == 0, done.err
    parity = done.document["parity"]
    assert (parity["passed"], parity["strays"], parity["dtypes"], parity["limit"]) == (True, 0, ["fp32", "fp32"], 1e-5)
    assert parity["largest"] < 1e-6
    assert parity["items"] == IMAGES * EACH + 1 - 1 + IMAGES, "the caption that stands there twice is asked for once"
    kept = ["--dump-txt-emb", "t.npy", "--dump-img-emb", "i.npy", "--model", str(tiny_checkpoint)]
    assert validate(*flickr.flags, *kept, verb="embed").code == 0
    told = validate("--from-dumps", "t.npy", "i.npy", "--json")
    assert told.code == 0
    for way in ("image_retrieval", "text_retrieval"):
        assert told.document["recall"]["recall"][way] == done.document["recall"]["recall"][way]
    assert told.document["recall"]["recall"]["texts"] == IMAGES * EACH
    held = validate(*flags, "--against", "t.npy", "--against", "i.npy")
    assert held.code == 0, held.out
    assert "passed: 56 Items, each asked 2 times, against t.npy, i.npy (fp32, model" in held.out
    assert "worst" in held.out
    wide = validate(*flags, "--against", "i.npy", "--dtype", "bf16", "--json")
    assert (wide.document["parity"]["limit"], wide.document["parity"]["items"]) == (1e-3, IMAGES)
    assert "42 of 56 Items are not in i.npy" in wide.document["notes"][0]


def test_swapped_vectors_are_caught(validate: Validate, flickr: Place, served: Server, tiny_checkpoint: Path) -> None:
    """In a dump, with every limit there is."""
    kept = ["--modality", "text", "--dump-txt-emb", "t.npy", "--model", str(tiny_checkpoint)]
    assert validate(*flickr.flags, *kept, verb="embed").code == 0
    dump = dumps.read(Path("t.npy"))
    assert dump.side_car is not None
    broken = dump.vectors.copy()
    broken[[7, 30]] = broken[[30, 7]]
    dumps.write(Path("t.npy"), broken, dump.side_car)
    flags = ["--base-url", served.url, *flickr.flags, "--modality", "text", "--against", "t.npy", "--json"]
    for limit in ([], ["--limit", "1.9"]):
        done = validate(*flags, *limit)
        assert done.code == 1, done.err
        failed = done.document["parity"]["failed"]
        assert {(one["name"], one["nearest"]) for one in failed} == {("02.jpg#1", "09.jpg#1"), ("09.jpg#1", "02.jpg#1")}
    assert "2 nearer to another Item's vector" in done.err


@pytest.mark.parametrize("when", [1, 2])
def test_a_server_that_swaps_is_caught(when: int, validate: Validate, flickr: Place, liar: Liar) -> None:
    """Against a server that does not; once is enough, be it the first or the second time that they are asked."""
    swap = {"caption 1 of picture 2 .": "caption 2 of picture 9 .", "caption 2 of picture 9 .": "caption 1 of picture 2 ."}
    flags = [*flickr.flags, "--modality", "text", "--json"]
    with lying() as truthful:
        assert validate("--base-url", liar.url, *flags, "--against", truthful.url).code == 0
        met: list[str] = []

        def lie(items: list[Any]) -> Any:
            met.extend(items)
            return [honest(swap.get(item, item) if met.count(item) == when else item) for item in items]

        liar.lie = lie
        done = validate("--base-url", liar.url, *flags, "--against", truthful.url)
    assert done.code == 1
    failed = done.document["parity"]["failed"]
    assert {(one["name"], one["nearest"]) for one in failed} == {("02.jpg#1", "09.jpg#2"), ("09.jpg#2", "02.jpg#1")}
    assert any("nothing says the dtype of the server" in note for note in done.document["parity"]["notes"])


def test_a_page_shows_the_worst(
    validate: Validate, flickr: Place, liar: Liar, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A picture and its captions, against a server that does not lie. What draws is asked for before the server is."""
    vl_convert = pytest.importorskip("vl_convert", reason="the extra `report` is not installed")
    monkeypatch.setattr(vl_convert, "javascript_bundle", lambda snippet: f"/* {snippet} */")  # takes seconds
    lied = ("picture 2 .", b64encode((flickr.folder / "images" / "02.jpg").read_bytes()).decode())
    liar.lie = lambda items: [honest("other" if any(one in str(item) for one in lied) else item) for item in items]
    with lying() as truthful:
        flags = ["--base-url", liar.url, *flickr.flags, "--against", truthful.url, "--worst", "4", "--html", "p.html"]
        done = validate(*flags, "--json")
        assert (done.code, done.document["html"], done.document["parity"]["backend"]["backend"]) == (1, "p.html", "remote")
        assert "saved   p.html" in done.err
        page = (tmp_path / "p.html").read_text(encoding="utf-8")
        assert "Failed: 4 of 56 Items have another vector on the other side." in page
        assert page.count("<li class=wrong>") == 4
        assert "caption 1 of picture 2 ." in page
        assert page.count('src="data:image/jpeg;base64,') == 1
        (tmp_path / "p.html").unlink()
        monkeypatch.setitem(sys.modules, "altair", None)
        asked = len(liar.asked)
        done = validate(*flags)
        assert (done.code, "--html: no picture can be drawn" in done.err, "pip install" in done.err) == (2, True, True)
        assert (len(liar.asked), list(tmp_path.iterdir())) == (asked, []), "the server was not troubled"


@pytest.mark.slow
def test_the_side_here_by_another_backend(validate: Validate, flickr: Place, served: Server, tiny_checkpoint: Path) -> None:
    """What computed, and in which dtype, is in the result; a conversion is kept for the next time."""
    pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
    flags = ["--base-url", served.url, *flickr.flags, "--model", str(tiny_checkpoint), "--against", "local"]
    done = validate(*flags, "--backend", "openvino", "--openvino-cache", "kept", "--json")
    parity = done.document["parity"]
    assert (done.code, parity["passed"], parity["backend"]["backend"], parity["backend"]["dtype"]) == (
        0,
        True,
        "openvino",
        "fp32",
    )
    assert "against backend openvino (torch" in done.err
    assert 0 < parity["largest"] < 1e-5, "other sums than the server's, the same vectors"
    (kept,) = Path("kept").glob("clip-*")
    before = kept.stat().st_mtime_ns
    chosen = validate(*flags, "--backend", "auto", "--openvino-cache", "kept", "--json")
    found = chosen.document["parity"]["backend"]
    assert (chosen.code, found["chosen"]["asked"], found["backend"] in ("torch", "openvino")) == (0, "auto", True)
    assert f"--backend auto took it: {found['chosen']['why']}" in chosen.err
    assert (kept.stat().st_mtime_ns, len(list(Path("kept").iterdir()))) == (before, 1), "taken as it was"
    wide = validate(*flags, "--amp", "bf16", "--json").document["parity"]
    assert (wide["dtypes"], wide["limit"], wide["backend"]["backend"]) == (["fp32", "bf16"], 1e-3, "torch")


@pytest.mark.parametrize("number", [float("nan"), 0.0])
def test_what_is_no_vector_is_rejected_before_any_ranking(
    number: float, validate: Validate, flickr: Place, liar: Liar, tmp_path: Path
) -> None:
    """NaN is no JSON: an encoder that writes it anyway is met as a reply that is none. 1e39 is beyond float32."""
    spoilt = 1e39 if number else number
    liar.lie = lambda items: [[spoilt] * 16 if "caption 1 of picture 0 ." in str(item) else honest(item) for item in items]
    flags = ["--base-url", liar.url, *flickr.flags]
    groups = validate(*flags, "--dump", "d.txt", "--distractors", "0")
    assert (groups.code, list(tmp_path.iterdir())) == (1, [])
    assert "zero or not finite: 1" in groups.out
    assert "00.jpg with 'caption 1 of picture 0 .'" in groups.out
    whole = validate(*flags, "--recall", "--json")
    assert (whole.code, whole.document["recall"], whole.document["rejected"]["names"]) == (1, None, ["00.jpg#1"])


@pytest.mark.slow
def test_other_data_than_flickr8k(validate: Validate, flickr: Place, opens: Server, tmp_path: Path) -> None:
    for i in range(3):
        shutil.copy(flickr.folder / "images" / f"{i:02}.jpg", tmp_path / f"{i}.jpg")
        (tmp_path / f"{i}.txt").write_text(f"picture {i}\n")
    flags = ["--base-url", opens.url, "--against", "local", "--against-model", TINY, "--json"]
    folder = validate(*flags, "--data", ".", "--recall")
    assert (folder.code, folder.document["parity"]["items"]) == (0, 6), folder.err
    lines = '{"text": "one", "image": "0.jpg"}\n{"text": "two", "image": "http://h/x.jpg"}\n'
    (tmp_path / "lines.jsonl").write_text(lines)
    listed = validate(*flags, "--data", "lines.jsonl")
    assert (listed.code, listed.document["parity"]["items"]) == (0, 3), listed.err
    assert "a URL, which only a server opens" in listed.document["skipped"][0]
    drawn = validate(*flags, "--data-source", "random", "--max-samples", "4", "--api", "native")
    assert (drawn.code, drawn.document["parity"]["items"]) == (0, 5), "there is one caption"


# ---- mistakes


def test_mistakes(validate: Validate, flickr: Place, sim: Server, tmp_path: Path) -> None:
    """Exit code 2, the flag, a remedy, no output, and nothing on the disk."""
    (tmp_path / "tokens.txt").write_text("00.jpg,caption\n")
    (tmp_path / "other.txt").write_text("x.jpg#0\ta\ny.jpg#0\tb\n")
    np.save(tmp_path / "t.npy", np.ones((3, 4), np.float32))
    before = sorted(tmp_path.iterdir())
    captions = ["--flickr-captions-file", str(flickr.folder / "tokens.txt")]
    images = ["--flickr-images-dir", str(flickr.folder / "images")]
    cases: list[tuple[list[str], str, str]] = [
        ([], "--flickr-captions-file", "nothing says"),
        ([*images, "--flickr-captions-file", "none.txt"], "--flickr-captions-file", "cannot read none.txt"),
        ([*images, "--flickr-captions-file", "tokens.txt"], "--flickr-captions-file", "line 1"),
        ([*captions, "--flickr-images-dir", "none"], "--flickr-images-dir", "cannot list none"),
        ([*captions, "--flickr-images-dir", "."], "--flickr-images-dir", "right folder"),
        ([*captions, "--flickr-images-dir", ""], "--flickr-images-dir", "is needed"),
        ([*images, "--flickr-captions-file", "other.txt"], "--flickr-images-dir", "none of the 2 images"),
        ([*flickr.flags, "--start-group", "17"], "--start-group", "correct group start index: 0 to 16"),
        ([*flickr.flags, "--start-group", "16"], "--flickr-images-dir", "no image from group 16 on"),
        ([*flickr.flags, "--distractors", "100"], "--distractors", "ask for fewer"),
        ([*flickr.flags, "--dump", "none/d.txt"], "--dump", "folder of none/d.txt"),
        ([*flickr.flags, "--dump", "."], "--dump", "is a folder"),
        ([*flickr.flags, "--api", "openai"], "--api", "--modality text"),
        ([*flickr.flags, "--recall", "--dump", "d.txt"], "--dump", "whole set"),
        ([*flickr.flags, "--limit", "0.1"], "--limit", "--against local"),
        (["--from-dumps", "t.npy", "t.npy", "--base-url", sim.url], "--base-url", "asks no server"),
        (["--from-dumps", "t.npy", "none.npy"], "--from-dumps", "none.npy is not there"),
        ([*flickr.flags, "--against", "t.npy"], "--against", "3 vectors for 43 texts and 14 images"),
        ([*flickr.flags, "--against", "none.npy"], "--against", "none.npy is not there"),
        ([*flickr.flags, "--against", "local"], "--model", "no model is named"),
        ([*flickr.flags, "--against", "local", "--html", "none/p.html"], "--html", "folder of none/p.html"),
        ([*flickr.flags, "--against", "local", "--html", "."], "--html", "is a folder"),
        ([*flickr.flags, "--recall", "--html", "p.html"], "--html", "add --against"),
        ([*flickr.flags, "--against", "local", "--against-model", TINY, "--backend", "tourch"], "--backend", "'torch'"),
        ([*flickr.flags, "--against", "local", "--model", "./none"], "--model", "is no directory"),
        ([*flickr.flags, "--against", "local", "--against-model", str(tmp_path)], "--against-model", "config.json"),
        ([*flickr.flags, "--against", "local", "--against-model", TINY], "--against", "another model"),
        (["--data", "-", "--recall"], "--data", "cannot be read twice"),
    ]
    for flags, flag, says in cases:
        target = [] if "--from-dumps" in flags else ["--base-url", sim.url]
        done = validate(*target, *flags)
        assert (done.code, done.out) == (2, ""), (flags, done)
        assert f"clipload: {flag}: " in done.err, (flags, done.err)
        assert says in done.err, (flags, done.err)
        assert "remedy: " in done.err, (flags, done.err)
        assert sorted(tmp_path.iterdir()) == before, flags


def test_dumps_of_another_model(validate: Validate, flickr: Place, sim: Server, tiny_checkpoint: Path) -> None:
    flags = [*flickr.flags, "--backend", "remote", "--base-url", sim.url]
    assert validate(*flags, "--dump-txt-emb", "t.npy", "--dump-img-emb", "i.npy", verb="embed").code == 0
    local = [*flickr.flags, "--modality", "image", "--dump-img-emb", "j.npy", "--model", str(tiny_checkpoint)]
    assert validate(*local, verb="embed").code == 0
    assert validate("--from-dumps", "t.npy", "i.npy").code == 0
    for wrong, says in (
        (["--from-dumps", "t.npy", "j.npy"], "different models"),
        (["--from-dumps", "i.npy", "t.npy"], "holds image vectors"),
        (["--base-url", sim.url, *flickr.flags, "--against", "j.npy"], "another model"),
        (["--base-url", sim.url, *flickr.flags, "--against", "t.npy", "--against", "j.npy"], "of one model"),
    ):
        done = validate(*wrong)
        assert (done.code, says in done.err) == (2, True), done.err


def test_a_server_that_is_not_there_or_fails(validate: Validate, flickr: Place, liar: Liar, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        done = validate("--base-url", f"http://127.0.0.1:{free.getsockname()[1]}", *flickr.flags, "--dump", "d.txt")
    assert (done.code, "--base-url: " in done.err, "is the server running" in done.err) == (3, True, True)
    liar.lie = lambda items: (500, "oops") if len(liar.asked) > 4 else [honest(item) for item in items]
    failed = validate("--base-url", liar.url, *flickr.flags, "--dump", "d.txt", "--concurrency", "1")
    assert (failed.code, "answered 500 to request 4 of 5" in failed.err) == (3, True), failed.err
    liar.lie = lambda items: [honest(items[0])]  # a model of texts alone, say
    texts = validate("--base-url", liar.url, *flickr.flags, "--dump", "d.txt")
    assert (texts.code, "1 vectors for a request of 2" in texts.err) == (3, True)
    assert list(tmp_path.iterdir()) == []


# ---- as a process, and `embed --backend remote`


def test_a_process_without_torch(flickr: Place, sim: Server, tmp_path: Path) -> None:
    """Neither groups nor dumps of a server's vectors need it; a terminal's Ctrl-C leaves nothing."""
    program = (
        "import sys; from clipload.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    flags = ["validate", "--base-url", sim.url, *flickr.flags, "--json"]
    done = subprocess.run(
        [sys.executable, "-c", program, *flags],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        cwd=ROOT,
    )
    assert json.loads(done.stdout)["groups"][0]["image"] == "00.jpg"
    shown = subprocess.run(command("validate", "--help"), check=True, capture_output=True, text=True, timeout=60, cwd=ROOT)
    for words in ("Groups", "Whole set", "Target", "--start-group", "--against", "clipload validate --recall"):
        assert words in shown.stdout


def test_ctrl_c_leaves_nothing(flickr: Place, liar: Liar, tmp_path: Path) -> None:
    liar.pause_s = 0.2
    flags = ["--base-url", liar.url, *flickr.flags, "--samples", "14", "--concurrency", "1", "--dump", "d.txt"]
    with subprocess.Popen(
        command("validate", *flags), stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment({"PYTHONPATH": str(ROOT)})
    ) as process:
        deadline = time.monotonic() + 30
        while len(liar.asked) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, "interrupted; nothing was written" in err) == (130, True), err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", VALIDATIONS)
def test_an_example_of_the_help_runs(name: str, validate: Validate, flickr: Place, opens: Server, tmp_path: Path) -> None:
    """Each as it stands, but for the model, the server's address, and where group 58 is."""
    (tmp_path / "Flicker8k_Dataset").symlink_to(flickr.folder / "images")
    shutil.copy(flickr.folder / "tokens.txt", tmp_path / "Flickr8k.token.txt")
    for kind, names in (("texts", [f"{i}.jpg#0" for i in range(4)]), ("images", [f"{i}.jpg" for i in range(4)])):
        side_car = dumps.SideCar(
            kind=kind[:-1], count=4, dim=8, normalized=False, checksum="", identity={}, facts={}, names=names
        )
        dumps.write(tmp_path / f"{kind}.npy", np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32), side_car)
    words = shlex.split(VALIDATIONS[name].replace("MODEL", TINY).replace(" 58 ", " 3 "))
    assert words[:2] == ["clipload", "validate"]
    asked = [] if "--from-dumps" in words else ["--base-url", opens.url]
    done = validate(*words[2:], *asked)
    assert done.code == 0, done.err
    assert done.out


def test_embed_asks_a_server(validate: Validate, flickr: Place, served: Server, tiny_checkpoint: Path) -> None:
    """The same vectors, to rounding, and what they are."""
    both = [*flickr.flags, "--max-samples", "5", "--normalize", "--json"]
    remote = ["--backend", "remote", "--base-url", served.url, "--concurrency", "3"]
    asked = validate(*both, *remote, "--dump-txt-emb", "t.npy", "--dump-img-emb", "i.npy", verb="embed")
    assert asked.code == 0, asked.err
    assert f"backend remote on {served.url}, fp32" in asked.err
    assert (
        validate(
            *both, "--model", str(tiny_checkpoint), "--dump-txt-emb", "u.npy", "--dump-img-emb", "j.npy", verb="embed"
        ).code
        == 0
    )
    for one, other in (("t", "u"), ("i", "j")):
        cosines = (np.load(f"{one}.npy") * np.load(f"{other}.npy")).sum(axis=1)
        assert cosines.min() >= 0.9999
        assert dumps.read(Path(f"{one}.npy")).names == dumps.read(Path(f"{other}.npy")).names
    side_car = dumps.read_side_car(Path("t.npy"))
    assert side_car is not None
    assert (side_car.identity["server"], side_car.identity["model"]) == (served.url, str(tiny_checkpoint))


@pytest.mark.parametrize(
    ("flags", "flag"),
    [
        (["--backend", "torch", "--base-url", "http://127.0.0.1:1"], "--base-url"),
        (["--concurrency", "3"], "--concurrency"),
        (["--api-key-file", "key"], "--api-key-file"),
        (["--backend", "remote", "--device", "cuda"], "--device"),
        (["--backend", "remote", "--amp", "bf16"], "--amp"),
        (["--backend", "remote", "--compile"], "--compile"),
        (["--backend", "remote", "--use-ipex", "False"], "--use-ipex"),
        (["--backend", "remote", "--api", "openai"], "--api"),
        (["--backend", "remote", "--base-url", "127.0.0.1:1"], "--base-url"),
    ],
)
@pytest.mark.slow
def test_embed_tells_a_server_from_a_model_here(flags: list[str], flag: str, validate: Validate, flickr: Place) -> None:
    done = validate(*flickr.flags, *flags, verb="embed")
    assert (done.code, f"clipload: {flag}: " in done.err) == (2, True), done.err
