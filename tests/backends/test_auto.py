"""`auto`: who is taken when, and what it says of it. Backends and the clock are stand-ins; one test takes the real ones."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from clipload.backends import PARITY, BackendOptions, auto
from clipload.backends.auto import Trial, choose, tried
from clipload.errors import HostError
from tests.models import save_checkpoint
from tests.server.wire import embed as ask
from tests.server.wire import vectors
from tests.servers import ROOT, command, environment, running_server

GPU = "cuda:1"


class Clock:
    """Time passes when a backend works, and only then."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def worker(self, *takes: float) -> Any:
        """An `encode` that takes so long, call by call, the last again and again."""
        left = list(takes)

        def encode(items: Sequence[Any]) -> None:
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return encode


def test_the_better_round_of_each_counts_and_a_slow_machine_has_two() -> None:
    clock = Clock()
    assert tried(clock.worker(9, 4, 5), clock.worker(7, 2), [1, 2, 3], clock) == Trial(3, 4, 2)  # type: ignore[list-item]
    assert clock.now == 9 + 7 + 4 + 2
    clock = Clock()
    found = tried(clock.worker(0.5, 0.2, 0.1, 0.3), clock.worker(0.2), [], clock)
    assert (found.torch_s, found.openvino_s) == (pytest.approx(0.1), pytest.approx(0.2))
    assert clock.now == pytest.approx(0.5 + 0.2 + 0.1 + 2 * 0.3 + 5 * 0.2), "five rounds in two seconds"
    assert Trial(1, 3.0, 2.0).ratio == 1.5


class Torch:
    name = "torch"

    def __init__(self, options: BackendOptions, *, converted: bool = False) -> None:
        self.dtype = {"off": "fp32", PARITY: "fp32"}.get(options.amp, options.amp)
        self.lowered = {"image": 0.7} if options.amp == PARITY else {}
        self.converted = converted
        self.loaded = SimpleNamespace(side=8)
        self.released = False

    def release(self) -> None:
        self.released = True

    def encode(self) -> None:
        """The trial has its own."""

    def facts(self) -> dict[str, Any]:
        return {"backend": self.name}


class Converted(Torch):
    name = "openvino"
    raises: HostError | None = None
    cosine = 1 - 2e-7

    def __init__(self, _: BackendOptions, plain: Torch) -> None:
        self.plain = plain
        if self.raises:
            raise self.raises


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Both backends are stand-ins; `trial` is how the trial ends, `mismatch` what is wrong with the install."""
    house = SimpleNamespace(trial=Trial(6, 3.0, 2.0), mismatch="")
    monkeypatch.setattr(auto, "TorchClip", Torch)
    monkeypatch.setattr(auto, "OpenVino", Converted)
    monkeypatch.setattr(auto.openvino, "mismatch", lambda: house.mismatch)
    monkeypatch.setattr(auto, "tried", lambda *_: house.trial)
    monkeypatch.setattr(Converted, "raises", None)
    return house


def test_the_faster_one_is_taken(house: SimpleNamespace) -> None:
    said: list[str] = []
    chosen: Any = auto.make(BackendOptions(say=said.append))
    why = "1.50 times as fast as torch for 6 Items here, 1 − cosine to its vectors in fp32 at most 2.0e-07"
    assert said == [f"--backend auto takes openvino: {why}"]
    assert chosen.backend.plain.released
    facts = chosen.facts()
    assert facts["backend"] == "openvino"
    assert facts["chosen"]["trial"] == {"items": 6, "torch_s": 3.0, "openvino_s": 2.0}
    assert (facts["chosen"]["asked"], facts["chosen"]["why"]) == ("auto", why)
    json.dumps(facts)


@pytest.mark.parametrize("trial", [Trial(6, 2.0, 3.0), Trial(6, 2.0, 2.0)])
def test_torch_is_when_the_other_is_no_faster(house: SimpleNamespace, trial: Trial) -> None:
    house.trial = trial
    chosen = choose(BackendOptions())
    assert (chosen.backend.name, chosen.trial) == ("torch", trial)
    assert not chosen.backend.released  # type: ignore[union-attr]
    assert f"takes {trial.openvino_s / trial.torch_s:.2f} times as long" in chosen.why


def test_what_is_lowered_for_openvino_is_lowered_anew_for_torch(
    house: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They round at other places, so each is tried by its own arithmetic; and that torch is timed which would be taken."""
    timed: list[Any] = []
    monkeypatch.setattr(auto, "tried", lambda *given: timed.append(given[0].__self__) or house.trial)
    parity = BackendOptions(amp=PARITY)
    chosen: Any = choose(parity).backend
    assert (chosen.name, chosen.plain.converted, chosen.plain.released) == ("openvino", True, True)
    house.trial = Trial(6, 2.0, 3.0)
    chosen = choose(parity).backend
    assert (chosen.name, chosen.converted) == ("torch", False)
    assert timed[1] is chosen
    assert not timed[0].converted


def test_torch_is_when_the_other_is_missing_unsound_or_unfit(house: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    unsound = HostError("computes other vectors than torch", flag=auto.openvino.FLAG)
    monkeypatch.setattr(Converted, "raises", unsound)
    chosen = choose(BackendOptions())
    assert (chosen.backend.name, chosen.why, chosen.trial) == ("torch", unsound.what, None)
    monkeypatch.setattr(Converted, "raises", HostError("no disk", flag="--openvino-cache"))
    with pytest.raises(HostError, match="no disk"):
        choose(BackendOptions())
    chosen = choose(BackendOptions(amp="fp16"))
    assert (chosen.backend.name, "no fp16" in chosen.why) == ("torch", True)
    chosen = choose(BackendOptions(device=GPU))
    assert (chosen.backend.name, chosen.why) == ("torch", f"the one for {GPU}")
    house.mismatch = "OpenVINO (openvino) is not installed"
    chosen = choose(BackendOptions())
    assert (chosen.backend.name, chosen.why) == ("torch", f"{house.mismatch} (pip install '.[openvino]')")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_an_embedding_and_a_server_take_it(tmp_path: Path) -> None:
    """Records its choice, goes on with it, and a server computes what it computed."""
    pytest.importorskip("torch", reason="the extra `local` is not installed")
    if reason := auto.openvino.mismatch():
        pytest.skip(reason)
    model = save_checkpoint(tmp_path / "model")
    texts = ["a dog", "two black dogs run on the grass", "d"]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    flags = ["--model", str(model), "--modality", "text", "--data", "texts.jsonl", "--dump-txt-emb", "t.npy", "--json"]

    def embed(*more: str) -> Any:
        whole = command("embed", *flags, *more)
        env = environment({"PYTHONPATH": str(ROOT)})
        return subprocess.run(whole, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=110, check=False)

    done = embed("--backend", "auto", "--openvino-cache", "kept")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)["backend"]
    assert facts["backend"] in auto.CHOICES
    assert facts["chosen"]["why"] in done.stderr
    side_car = json.loads((tmp_path / "t.npy.json").read_text())
    assert side_car["facts"]["chosen"] == facts["chosen"]
    assert side_car["identity"]["backend"] == facts["backend"]
    again = embed("--backend", "auto", "--openvino-cache", "kept")
    assert f"--backend auto takes {facts['backend']}: an earlier attempt did" in again.stderr
    with running_server("clip", "--model", str(model), "--backend", "openvino", "--threads", "1") as server:
        found = vectors(ask(server.url, texts))
    expected = np.load(tmp_path / "t.npy")
    assert ((found * expected).sum(1) / np.linalg.norm(expected, axis=1)).min() > 0.99999
