"""What `clipload embed` is told, frozen and validated at birth: a mistake names its flag and the remedy."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from pathlib import Path

from clipload.backends import BACKENDS, DEVICE, PARITY, BackendOptions, Say
from clipload.credentials import Credentials
from clipload.errors import CliploadError, PlanError
from clipload.plan import Plan
from clipload.sources import CAPTION_PICKS
from clipload.sources.listing import MODES, ListingOptions

AMPS, AMXS = ("off", "parity", "auto", "bf16", "fp16"), ("auto", "on", "off")
AUTO = "auto"
REMOTE = "remote"
LOCAL = tuple(name for name in BACKENDS if name != REMOTE)  # these have a device, a dtype and threads here
DUMPS = {"text": "--dump-txt-emb", "image": "--dump-img-emb"}
COUNTS = ("captions_per_image", "max_samples", "num_threads")
MACHINE = ("device", "amp", "amx", "use_ipex", "compiled", "num_threads", "force", "openvino_cache")
CONVERTING = ("openvino", "auto")  # the backends that may convert the model
FLICKR_ONLY = ("flickr_images_dir", "flickr_captions_file", "captions_per_image")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingOptions:
    """None means: not said. `data_source` None is read off the other flags, and with `verify` means: verify what is there."""

    data_source: str | None = None
    data: str | None = None
    flickr_images_dir: Path | None = None
    flickr_captions_file: Path | None = None
    flickr_caption_pick: str = CAPTION_PICKS[0]
    captions_per_image: int | None = None
    modality: str = "both"
    max_samples: int | None = None
    seed: int = 0
    strict: bool = False
    backend: str = "torch"
    model: str = ""
    device: str = "cpu"
    amp: str = "off"
    amx: str = "auto"
    use_ipex: bool | None = None
    compiled: bool = False
    batch_size: str = AUTO
    num_threads: int | None = None
    force: bool = False
    openvino_cache: Path | None = None
    normalize: bool = False
    dump_txt_emb: Path | None = None
    dump_img_emb: Path | None = None
    overwrite: bool = False
    verify: bool = False
    target: Plan | None = None
    credentials: Credentials = field(default=Credentials(), compare=False)

    def __post_init__(self) -> None:
        for name, allowed in (("modality", tuple(MODES)), ("amp", AMPS), ("amx", AMXS), ("flickr_caption_pick", CAPTION_PICKS)):
            if getattr(self, name) not in allowed:
                raise _error(name, f"{getattr(self, name)!r} is not one of {', '.join(allowed)}", f"use {', '.join(allowed)}")
        for name in COUNTS:
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise _error(name, f"{getattr(self, name)} is not 1 or more", "use a whole number from 1, or leave it out")
        if self.seed < 0:
            raise _error("seed", f"{self.seed} is negative", "use a whole number >= 0")
        _ = self.batch
        self._check_machine()
        self._check_target()
        self._check_dumps()
        if not self.only_verifies:
            self._check_source()

    @property
    def only_verifies(self) -> bool:
        """Nothing says what to embed, and --verify says what else to do."""
        said = (self.data_source, self.data, self.flickr_captions_file, self.flickr_images_dir)
        return self.verify and said == (None,) * len(said)

    @property
    def kinds(self) -> tuple[str, ...]:
        return ("text", "image") if self.modality == "both" else (self.modality,)

    @property
    def batch(self) -> int | None:
        """None: automatic."""
        if self.batch_size == AUTO:
            return None
        if not re.fullmatch(r"[1-9]\d{0,5}", self.batch_size):
            raise _error("batch_size", f"{self.batch_size!r} is neither auto nor a number from 1", "use auto, or 32")
        return int(self.batch_size)

    @property
    def source(self) -> str:
        if self.data_source is not None:
            return self.data_source
        if self.data is not None:
            return "folder" if Path(self.data).expanduser().is_dir() else "jsonl"
        return "flickr8k"

    def dump(self, kind: str) -> Path | None:
        return self.dump_txt_emb if kind == "text" else self.dump_img_emb

    def listing(self) -> ListingOptions:
        return ListingOptions(
            data_source=self.source,
            modality=self.modality,
            seed=self.seed,
            data=self.data,
            flickr_images_dir=self.flickr_images_dir,
            flickr_captions_file=self.flickr_captions_file,
            captions_per_image=self.captions_per_image,
            caption_pick=self.flickr_caption_pick,
            max_samples=self.max_samples,
        )

    def for_backend(self, say: Say) -> tuple[str, BackendOptions]:
        """The backend's name (--use-ipex True makes `ipex` of torch) and what it is told."""
        return "ipex" if self.use_ipex else self.backend, BackendOptions(
            model=self.model,
            device=self.device,
            amp=self.amp,
            amx=self.amx,
            must_ipex=bool(self.use_ipex),
            compiled=self.compiled,
            kinds=self.kinds,
            threads=self.num_threads,
            seed=self.seed,
            force=self.force,
            cache=self.openvino_cache,
            target=self.target,
            credentials=self.credentials,
            say=say,
        )

    def _check_machine(self) -> None:
        check_machine(self.backend, self.device, self.amp, self.openvino_cache)
        if self.use_ipex is False and self.backend == "ipex":
            raise _error("use_ipex", "False contradicts --backend ipex", "leave one of them out")
        if self.use_ipex and (self.backend not in LOCAL or self.backend in CONVERTING):
            raise _error("use_ipex", f"the backend {self.backend} is none of torch's", "leave it out, or use --backend ipex")
        if self.compiled and self.backend in CONVERTING:
            raise _error("compiled", f"means torch, not --backend {self.backend}", "leave it out, or use --backend torch")
        if self.device == "cpu":
            return
        if self.use_ipex:
            raise _for_cpu("IPEX", self.device)
        for name, unsaid in (("amx", "auto"), ("num_threads", None)) if self.device != "auto" else ():
            if getattr(self, name) != unsaid:
                raise _error(name, f"means the CPU, and the model is on {self.device}", "leave it out, or use --device cpu")

    def _check_target(self) -> None:
        """A server has its own machine; a machine has no server."""
        if self.backend in LOCAL and self.target is not None:
            raise _error("base_url", f"--backend {self.backend} asks no server", "use --backend remote, or leave out its flags")
        if self.backend != REMOTE:
            return
        unsaid = {spec.name: spec.default for spec in fields(self) if spec.name in MACHINE}
        for name, value in unsaid.items():
            if getattr(self, name) != value:
                raise _error(name, "means a model here, and remote asks a server", "leave it out, or use --backend torch")
        if self.target is not None and self.target.api == "openai" and self.modality != "text":
            raise _error("api", "openai embeds text only", "use --api v1, or --modality text")

    def _check_dumps(self) -> None:
        given = {kind: self.dump(kind) for kind in DUMPS if self.dump(kind) is not None}
        for kind, path in given.items():
            if kind not in self.kinds:
                raise PlanError(f"--modality {self.modality} embeds none", flag=DUMPS[kind], remedy="use --modality both")
            if not path or not path.parent.is_dir():
                raise PlanError(f"the folder of {path} is not there", flag=DUMPS[kind], remedy="make it, or name another")
        if len(given) == 2 and self.dump_txt_emb == self.dump_img_emb:
            raise PlanError("is the same file as --dump-txt-emb", flag=DUMPS["image"], remedy="name two files")
        for name in ("verify", "overwrite"):
            if getattr(self, name) and not given:
                raise _error(name, "there is no dump", "name one with --dump-txt-emb or --dump-img-emb")

    def _check_source(self) -> None:
        if self.data_source is None and self.data is None and self.flickr_captions_file is None:
            remedy = "use --data-source flickr8k with its files, or --data with a folder, a JSONL file or - for standard input"
            raise _error("data_source", "nothing says what to embed", remedy)
        if self.source != "flickr8k":
            for name in FLICKR_ONLY:
                if getattr(self, name) is not None:
                    raise _error(name, f"means nothing with --data-source {self.source}", "leave it out")
        if self.data is not None and self.source in ("flickr8k", "random"):
            raise _error("data", f"means nothing with --data-source {self.source}", "leave it out")


def truth(text: str | None) -> bool | None:
    """`True`, `false`, `1`, … as the older tool's --use-ipex took them; None when it is not said."""
    if text is None:
        return None
    if text.lower() not in ("true", "false", "1", "0"):
        raise _error("use_ipex", f"{text!r} is neither True nor False", "use --use-ipex True or --use-ipex False")
    return text.lower() in ("true", "1")


def check_machine(backend: str, device: str, amp: str, cache: Path | None) -> None:
    """PlanError where one of them means nothing to the backend."""
    if not DEVICE.fullmatch(device):
        raise _error("device", f"{device!r} is no device", "use cpu, cuda, cuda:0 or auto")
    if backend == "ipex" and device != "cpu":
        raise _for_cpu("IPEX", device)
    if backend == "openvino" and device != "cpu":
        raise _for_cpu("--backend openvino", device)
    if amp == PARITY and (backend == "ipex" or device.startswith("cuda")):
        what = "IPEX lowers the weights itself" if backend == "ipex" else f"parity is for a CPU, not for {device}"
        raise _error("amp", what, "use --amp off, bf16 or auto; or --backend torch or openvino with --device cpu")
    if backend == "openvino" and amp == "fp16":
        raise _error("amp", "OpenVINO computes no fp16 on a CPU", "use --amp off, bf16 or auto")
    if cache is not None and backend not in (*CONVERTING, REMOTE):
        raise _error("openvino_cache", f"--backend {backend} converts nothing", "leave it out, or use --backend openvino")


def _for_cpu(what: str, device: str) -> CliploadError:
    return _error("device", f"{what} is for the CPU, not for {device}", "use --device cpu, or --backend torch")


def _error(name: str, what: str, remedy: str) -> CliploadError:
    flag = "--compile" if name == "compiled" else f"--{name.replace('_', '-')}"
    return PlanError(what, flag=flag, remedy=remedy)
