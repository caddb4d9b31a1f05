"""The GPUs of this host, as NVML tells of them, when pynvml is there; it comes with no extra of ours."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from typing import Any

from clipload.sightings import Gpu


class Gpus:
    """Asked once a second. `missing` says why there are none."""

    def __init__(self, nvml: Any = None) -> None:
        """`nvml`: the module, else pynvml where it can be imported."""
        self._devices: list[Any] = []
        self.missing = ""
        try:
            self._nvml = nvml or import_module("pynvml")
        except ImportError:
            self.missing = "pynvml is not installed: GPUs are not looked at"
            return
        try:
            self._nvml.nvmlInit()
            self._devices = [self._nvml.nvmlDeviceGetHandleByIndex(i) for i in range(self._nvml.nvmlDeviceGetCount())]
        except self._nvml.NVMLError as error:
            self.missing = f"NVML: {error}"

    def read(self, pids: Collection[int]) -> dict[int, Gpu]:
        """Those on which one of `pids` runs; all, where NVML knows none of them (a container hides pids). A failure ends it."""
        try:
            mine = [i for i, device in enumerate(self._devices) if self._users(device) & set(pids)]
            return {i: self._one(self._devices[i]) for i in mine or range(len(self._devices))}
        except self._nvml.NVMLError as error:
            self.missing, self._devices = f"NVML: {error}", []
            return {}

    def _users(self, device: Any) -> set[int]:
        return {process.pid for process in self._nvml.nvmlDeviceGetComputeRunningProcesses(device)}

    def _one(self, device: Any) -> Gpu:
        memory = self._nvml.nvmlDeviceGetMemoryInfo(device)
        return Gpu(self._nvml.nvmlDeviceGetUtilizationRates(device).gpu / 100, int(memory.used), int(memory.total))

    def close(self) -> None:
        if self._devices:
            self._nvml.nvmlShutdown()
            self._devices = []
