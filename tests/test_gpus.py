"""GPUs, as a module with NVML's functions tells of them."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from clipload.gpus import Gpus
from clipload.sightings import Gpu


class Nvml:
    """Two GPUs: `users` of each, and how busy they are."""

    class NVMLError(Exception):
        pass

    def __init__(self, users: tuple[set[int], set[int]] = (set(), set()), fails: str = "") -> None:
        self.users, self.fails, self.over = users, fails, False

    def _may(self, name: str) -> None:
        if self.fails == name:
            raise self.NVMLError("driver is gone")

    def nvmlInit(self) -> None:  # noqa: N802
        self._may("init")

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.over = True

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:  # noqa: N802
        return number

    def nvmlDeviceGetComputeRunningProcesses(self, device: int) -> list[Any]:  # noqa: N802
        return [SimpleNamespace(pid=pid) for pid in self.users[device]]

    def nvmlDeviceGetMemoryInfo(self, device: int) -> Any:  # noqa: N802
        return SimpleNamespace(used=100 + device, total=1000)

    def nvmlDeviceGetUtilizationRates(self, device: int) -> Any:  # noqa: N802
        self._may("rates")
        return SimpleNamespace(gpu=10 + 80 * device)


ONE, OTHER = Gpu(0.1, 100, 1000), Gpu(0.9, 101, 1000)


@pytest.mark.parametrize(
    ("users", "seen"),
    [(({1}, {7, 8}), {1: OTHER}), (({7}, {7}), {0: ONE, 1: OTHER}), ((set(), {3}), {0: ONE, 1: OTHER})],
)
def test_those_on_which_the_target_runs(users: tuple[set[int], set[int]], seen: dict[int, Gpu]) -> None:
    nvml = Nvml(users)
    gpus = Gpus(nvml)
    assert gpus.read({7, 8}) == seen
    assert gpus.missing == ""
    gpus.close()
    assert nvml.over


@pytest.mark.parametrize("fails", ["init", "rates"])
def test_one_that_fails_is_said_and_over(fails: str) -> None:
    gpus = Gpus(Nvml(fails=fails))
    assert [gpus.read({7}) for _ in range(2)] == [{}, {}]
    assert gpus.missing == "NVML: driver is gone"


def test_without_pynvml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    gpus = Gpus()
    assert gpus.read({7}) == {}
    assert "not installed" in gpus.missing
    gpus.close()
