"""What `clipload validate` is told, frozen and validated at birth: a mistake names its flag and the remedy.

It does one of two things: **groups** (an image against captions, scored), or a **whole set** (`recall`, `against`, or both).
A flag of the one is an error in the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clipload.credentials import Credentials
from clipload.embedding.options import AMPS, REMOTE, check_machine
from clipload.errors import CliploadError, PlanError
from clipload.plan import Plan
from clipload.sources import CAPTION_PICKS
from clipload.sources.listing import MODES, ListingOptions
from clipload.validation.parity import LIMITS

LOCAL_WORD = "local"
AUTO = "auto"
GROUPS_ONLY = {"samples": 1, "group_size": 5, "distractors": 2, "start_group": 0, "pick_file": "", "dump": None}
SET_ONLY = {"data_source": None, "data": None, "captions_per_image": None, "max_samples": None, "modality": "both"}
PARITY_ONLY = {
    "repeat": 2, "limit": None, "dtype": AUTO, "worst": 10, "html": None, "against_model": "",
    "backend": "torch", "device": "cpu", "amp": "off", "openvino_cache": None,
}  # fmt: skip
LEAST = {"samples": 1, "group_size": 1, "captions_per_image": 1, "max_samples": 1, "repeat": 1, "worst": 1}
LOCAL_ONLY = ("backend", "device", "amp", "openvino_cache")
_PATHS = ("path", "path/url")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationOptions:
    """None means: not said; `value` gives what then holds. `target` None with `from_dumps`: no server is asked."""

    target: Plan | None = field(default_factory=Plan)
    credentials: Credentials = field(default=Credentials(), compare=False)
    flickr_images_dir: Path | None = None
    flickr_captions_file: Path | None = None
    image_transport: str | None = None
    seed: int = 42
    samples: int | None = None
    group_size: int | None = None
    distractors: int | None = None
    start_group: int | None = None
    pick_file: str | None = None
    dump: Path | None = None
    recall: bool = False
    from_dumps: tuple[Path, ...] = ()
    against: tuple[str, ...] = ()
    data_source: str | None = None
    data: str | None = None
    captions_per_image: int | None = None
    max_samples: int | None = None
    modality: str | None = None
    repeat: int | None = None
    limit: float | None = None
    dtype: str | None = None
    worst: int | None = None
    html: Path | None = None
    against_model: str | None = None
    backend: str | None = None
    device: str | None = None
    amp: str | None = None
    openvino_cache: Path | None = None

    def __post_init__(self) -> None:
        self._check_values()
        self._check_kind()
        if self.groups:
            self._check_groups()
        elif self.from_dumps:
            self._check_dumps()
        else:
            self._check_set()

    @property
    def groups(self) -> bool:
        return not (self.recall or self.against or self.from_dumps)

    @property
    def plan(self) -> Plan:
        if self.target is None:
            raise AssertionError("with --from-dumps nobody is asked")
        return self.target

    @property
    def as_paths(self) -> bool:
        return self.image_transport in _PATHS

    @property
    def source(self) -> str:
        if self.data_source is not None:
            return self.data_source
        if self.data is not None:
            return "folder" if Path(self.data).expanduser().is_dir() else "jsonl"
        return "flickr8k"

    def value(self, name: str) -> Any:
        """Of a flag that means something in one of the modes alone: as given, else its default."""
        given = getattr(self, name)
        return given if given is not None else {**GROUPS_ONLY, **SET_ONLY, **PARITY_ONLY}[name]

    @property
    def kinds(self) -> tuple[str, ...]:
        modality = self.value("modality")
        return ("text", "image") if modality == "both" else (str(modality),)

    def listing(self) -> ListingOptions:
        return ListingOptions(
            data_source=self.source,
            modality=self.value("modality"),
            seed=self.seed,
            data=self.data,
            flickr_images_dir=self.flickr_images_dir,
            flickr_captions_file=self.flickr_captions_file,
            captions_per_image=self.captions_per_image,
            caption_pick=CAPTION_PICKS[0],
            max_samples=self.max_samples,
        )

    # ---- what may not be

    def _check_values(self) -> None:
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise _error(name, f"{value} is too small", f"use at least {least}")
        for name in ("distractors", "start_group", "seed"):
            if (getattr(self, name) or 0) < 0:
                raise _error(name, f"{getattr(self, name)} is negative", "use a whole number >= 0")
        if self.limit is not None and not 0 < self.limit <= 2:
            raise _error("limit", f"{self.limit:g} is no distance of directions", "use a number above 0, such as 1e-3")
        for name, words in (
            ("modality", tuple(MODES)),
            ("dtype", (AUTO, *LIMITS)),
            ("amp", AMPS),
            ("image_transport", ("data-url", *_PATHS)),
        ):
            if getattr(self, name) not in (None, *words):
                raise _error(name, f"{getattr(self, name)!r} is not one of {', '.join(words)}", f"use {', '.join(words)}")

    def _check_kind(self) -> None:
        """What would be ignored in silence."""
        what = "groups" if self.groups else "dumps" if self.from_dumps else "a whole set (--recall, --against)"
        unused: dict[str, Any] = dict(SET_ONLY if self.groups else GROUPS_ONLY)
        if not self.against:
            unused |= PARITY_ONLY
        if self.from_dumps:
            unused |= SET_ONLY | {"flickr_images_dir": None, "flickr_captions_file": None}
            unused |= {"image_transport": None}
            unused.pop("captions_per_image")
        for name in unused:
            if getattr(self, name) is not None:
                remedy = "leave it out" if name in GROUPS_ONLY or self.from_dumps else _needs(name)
                raise _error(name, f"means nothing with {what}", remedy)
        if self.from_dumps and self.against:
            raise _error("against", "--from-dumps asks no server", "give one of the two")
        if LOCAL_WORD not in self.against:
            for name in LOCAL_ONLY:
                if getattr(self, name) is not None:
                    raise _error(name, "is for a model here", "use --against local, or leave it out")

    def _check_groups(self) -> None:
        if self.flickr_captions_file is None and self.flickr_images_dir is None:
            remedy = "name Flickr8k's folder and captions file; or see --recall, --against and --from-dumps"
            raise _error("flickr_captions_file", "nothing says what to validate with", remedy)
        if self.plan.api == "openai":
            remedy = "use --api v1; its texts can be compared: --against local --modality text"
            raise _error("api", "openai embeds text only, and a group has an image", remedy)
        _check_file("dump", self.dump)

    def _check_dumps(self) -> None:
        if len(self.from_dumps) != 2:
            raise _error("from_dumps", "takes two dumps", "name the texts', then the images'")

    def _check_set(self) -> None:
        if self.source == "flickr8k" and self.flickr_captions_file is None:
            remedy = "name Flickr8k's folder and captions file, or --data with a folder or a JSONL file"
            raise _error("flickr_captions_file", "nothing says what to validate with", remedy)
        if self.source != "flickr8k":
            for name in ("flickr_images_dir", "flickr_captions_file"):
                if getattr(self, name) is not None:
                    raise _error(name, f"means nothing with --data-source {self.source}", "leave it out")
        if self.data is not None and self.source in ("flickr8k", "random"):
            raise _error("data", f"means nothing with --data-source {self.source}", "leave it out")
        if self.data == "-":
            raise _error("data", "standard input cannot be read twice", "put it into a file")
        if self.recall and self.kinds != ("text", "image"):
            raise _error("modality", "--recall takes texts and images", "leave it out")
        if self.plan.api == "openai" and "image" in self.kinds:
            raise _error("api", "openai embeds text only", "use --api v1, or --modality text")
        self._check_against()

    def _check_against(self) -> None:
        others = [other for other in self.against if is_dump(other)]
        if len(self.against) > 1 and len(others) < len(self.against):
            raise _error("against", "there is one other side", "name local, a URL, or a dump of texts and one of images")
        if len(self.against) > 2:
            raise _error("against", "there is one dump of texts and one of images", "name two at most")
        _check_file("html", self.html)
        if LOCAL_WORD in self.against:
            self._check_local()

    def _check_local(self) -> None:
        if self.value("backend") == REMOTE:
            raise _error("backend", "remote is no model here", "use --against URL for another server")
        check_machine(self.value("backend"), self.value("device"), self.value("amp"), self.openvino_cache)


def is_dump(other: str) -> bool:
    """Whether --against names a file."""
    return other != LOCAL_WORD and not is_url(other)


def is_url(other: str) -> bool:
    return other.startswith(("http://", "https://", "unix:"))


def _check_file(name: str, path: Path | None) -> None:
    if path is not None and not path.expanduser().absolute().parent.is_dir():
        raise _error(name, f"the folder of {path} is not there", "make it, or name another")
    if path is not None and path.expanduser().is_dir():
        raise _error(name, f"{path} is a folder", "name a file")


def _needs(name: str) -> str:
    return "add --against local, or leave it out" if name in PARITY_ONLY else "add --recall or --against, or leave it out"


def _error(name: str, what: str, remedy: str) -> CliploadError:
    return PlanError(what, flag=f"--{name.replace('_', '-')}", remedy=remedy)
