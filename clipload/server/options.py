"""What `clipload serve` is told, frozen and validated at birth: a mistake names its flag and the remedy."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from clipload.backends import DEVICE, PARITY
from clipload.certificates import server_context
from clipload.errors import CliploadError, PlanError
from clipload.server.faults import Stall, parse_stall
from clipload.server.laws import Law, parse_law
from clipload.server.lies import LieName
from clipload.units import Duration, parse_cores

EngineName = Literal["clip", "sim", "null"]
Size = Literal["b32", "tiny"]
BackendName = Literal["torch", "openvino", "ipex", "auto"]
Amp = Literal["off", "parity", "auto", "bf16"]
Api = Literal["v1", "openai", "infinity", "vllm"]

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 30000
DEFAULT_LAW = "constant(5ms)"
ONLY_FOR: dict[str, tuple[EngineName, ...]] = {
    "model_dir": ("clip",),
    "size": ("clip",),
    "backend": ("clip",),
    "amp": ("clip",),
    "device": ("clip",),
    "openvino_cache": ("clip",),
    "max_batch": ("clip",),
    "threads": ("clip",),
    "law": ("sim",),
    "servers": ("sim",),
    "stall": ("sim",),
    "lie": ("sim",),
    "error_rate": ("sim", "clip"),
    "reset_rate": ("sim", "clip"),
    "max_queue": ("sim", "clip"),
    "open_images": ("clip", "sim"),
    "dim": ("sim", "null"),
    "items": ("null",),
    "enable_metrics": ("sim", "clip"),
    "stamps": ("sim",),
}
LONGEST_PATH = 107  # bytes: what a sockaddr_un holds
COUNTS = ("max_batch", "threads", "servers", "items", "dim")
RANGES: tuple[tuple[str, int, int], ...] = (
    ("port", 0, 65535),
    ("seed", 0, 2**63),
    ("max_queue", 0, 2**31),
    ("error_rate", 0, 1),
    ("reset_rate", 0, 1),
    *((name, 1, 2**20) for name in COUNTS),
)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """None or an empty tuple means: not said, so the engine's default. `api_key` never comes from argv."""

    engine: EngineName = "clip"
    api: Api = "v1"
    host: str | None = None
    port: int | None = None
    unix: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_client_ca: str | None = None
    served_model_name: str | None = None
    keep_alive: str = "5s"
    cores: str | None = None
    seed: int = 0
    api_key: str | None = field(default=None, repr=False)
    model_dir: Path | None = None
    size: Size | None = None
    backend: BackendName | None = None
    amp: Amp | None = None
    device: str | None = None
    openvino_cache: Path | None = None
    max_batch: int | None = None
    threads: int | None = None
    law: str | None = None
    servers: int | None = None
    stall: tuple[str, ...] = ()
    lie: LieName | None = None
    error_rate: float | None = None
    reset_rate: float | None = None
    max_queue: int | None = None
    open_images: bool | None = None
    dim: int | None = None
    items: int | None = None
    enable_metrics: bool | None = None
    stamps: Path | None = None

    def __post_init__(self) -> None:
        _one_of("--engine", self.engine, get_args(EngineName))
        _one_of("--api", self.api, get_args(Api))
        if self.size is not None:
            _one_of("--size", self.size, get_args(Size))
        if self.backend is not None:
            _one_of("--backend", self.backend, get_args(BackendName))
        if self.amp is not None:
            _one_of("--amp", self.amp, get_args(Amp))
        self._check_machine()
        if self.lie is not None:
            _one_of("--lie", self.lie, get_args(LieName))
        self._refuse_foreign()
        self._check_listening()
        for name, low, high in RANGES:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                remedy = f"choose a number from {low} to {high}"
                raise PlanError(f"{value} is outside {low} to {high}", flag=_flag(name), remedy=remedy)
        if (self.error_rate or 0) + (self.reset_rate or 0) > 1:
            raise PlanError("with --reset-rate it exceeds 1", flag="--error-rate", remedy="both are shares of all requests")
        if self.model_dir is not None and not self.model_dir.is_dir():
            raise PlanError(f"{self.model_dir} is not a directory", flag="--model", remedy="name a directory with config.json")
        if self.model_dir is not None and self.size is not None:
            raise PlanError("a model directory has its own size", flag="--size", remedy="leave out --size or --model")
        # Parsed for the sake of their complaints; the engine parses them again.
        _ = self.service_law, self.stalls, self.keep_alive_s, self.core_list, self.tls

    @property
    def service_law(self) -> Law:
        return parse_law(self.law or DEFAULT_LAW)

    @property
    def stalls(self) -> tuple[Stall, ...]:
        return tuple(parse_stall(text) for text in self.stall)

    @property
    def keep_alive_s(self) -> float:
        try:
            seconds = Duration.parse(self.keep_alive) / 1e9
        except CliploadError as error:
            raise PlanError(error.what, flag="--keep-alive", remedy=error.remedy) from None
        if seconds <= 0:
            raise PlanError("must be longer than 0", flag="--keep-alive", remedy="write 5s, or 1h to keep connections")
        return seconds

    @property
    def core_list(self) -> tuple[int, ...] | None:
        try:
            return parse_cores(self.cores) if self.cores is not None else None
        except CliploadError as error:
            raise PlanError(error.what, flag="--cores", remedy=error.remedy) from None

    @property
    def tls(self) -> ssl.SSLContext | None:
        """A context made anew; None without --tls-cert."""
        if self.tls_cert is None:
            return None
        return server_context(self.tls_cert, self.tls_key or "", self.tls_client_ca or "")

    def _check_machine(self) -> None:
        if self.openvino_cache is not None and self.engine == "clip" and self.backend not in ("openvino", "auto"):
            what = f"--backend {self.backend or 'torch'} converts nothing"
            raise PlanError(what, flag="--openvino-cache", remedy="add --backend openvino, or leave it out")
        if self.device is None:
            return
        if not DEVICE.fullmatch(self.device):
            remedy = "use cpu, cuda, cuda:0 or auto"
            raise PlanError(f"{self.device!r} is no device", flag="--device", remedy=remedy)
        if self.device.startswith("cuda") and self.amp == PARITY:
            raise PlanError("parity is for a CPU", flag="--amp", remedy="use --amp off, bf16 or auto; or --device cpu")
        if self.device != "cpu" and self.backend in ("openvino", "ipex"):
            raise PlanError(f"--backend {self.backend} is for the CPU", flag="--device", remedy="use --backend torch or auto")

    def _check_listening(self) -> None:
        """A Unix socket has no address, and TLS has a certificate."""
        for name in ("host", "port"):
            if self.unix is not None and getattr(self, name) is not None:
                raise PlanError("a Unix socket has none", flag=_flag(name), remedy="leave it out, or leave out --unix")
        for name in ("tls_key", "tls_client_ca"):
            if getattr(self, name) is not None and self.tls_cert is None:
                raise PlanError("means nothing without --tls-cert", flag=_flag(name), remedy="give --tls-cert as well")
        if self.tls_cert is not None and self.unix is not None:
            raise PlanError("is spoken over TCP", flag="--tls-cert", remedy="leave it out, or leave out --unix")
        if self.unix is not None and not 0 < len(self.unix.encode()) <= LONGEST_PATH:
            raise PlanError(f"of 1 to {LONGEST_PATH} bytes", flag="--unix", remedy="write --unix /tmp/server.sock")

    def _refuse_foreign(self) -> None:
        """A flag that the engine would ignore is an error: a scripted fault that never happens would mislead."""
        for name, engines in ONLY_FOR.items():
            if getattr(self, name) not in (None, ()) and self.engine not in engines:
                what = f"the engine {self.engine} does not know it"
                raise PlanError(what, flag=_flag(name), remedy=f"add --engine {engines[0]} or leave it out")


def _one_of(flag: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise PlanError(f"{value!r} is none of {', '.join(allowed)}", flag=flag, remedy=f"{flag} {allowed[0]}")


def _flag(name: str) -> str:
    return "--model" if name == "model_dir" else f"--{name.replace('_', '-')}"
