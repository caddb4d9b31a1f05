"""`ipex`: the torch backend under Intel's extension for PyTorch. Its last release, 2.8.0, works with torch 2.8 alone, and its
project is archived: it is kept for those who have it.

With another torch, importing it prints to stdout and raises AttributeError. So the versions are compared first, and it is
imported only where they agree. In bf16 it lowers the weights too, where `torch` lowers only the arithmetic. `scripts/test-ipex`
holds this file against the real one.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from clipload.backends import BackendOptions
from clipload.backends.torch_clip import Accelerate, TorchClip
from clipload.errors import HostError

PACKAGE, MODULE = "intel-extension-for-pytorch", "intel_extension_for_pytorch"
REMEDY = (
    "pip install '.[ipex]' into an environment of its own (torch 2.8 and IPEX 2.8.0), or leave IPEX out: plain torch has "
    "bf16 and AMX too"
)


class Ipex(TorchClip):
    """`torch`, with the model that IPEX made of it."""

    name = "ipex"

    def facts(self) -> dict[str, Any]:
        facts = super().facts()
        return facts | {"versions": facts["versions"] | {PACKAGE: version(PACKAGE)}}


def make(options: BackendOptions) -> TorchClip:
    """HostError with `must_ipex` when IPEX cannot be had; else plain torch, and why."""
    found = accelerator()
    if not isinstance(found, str):
        return Ipex(options, found)
    if options.must_ipex:
        raise HostError(found, flag="--use-ipex True", remedy=REMEDY)
    options.say(f"{found}; plain torch goes on (for IPEX: {REMEDY.partition(', or')[0]})")
    return TorchClip(options)


def accelerator() -> Accelerate | str:
    """What IPEX does to a model, or why it cannot be had."""
    if reason := mismatch():
        return reason
    try:
        with contextlib.redirect_stdout(sys.stderr), _logging_kept():
            module = import_module(MODULE)
    except Exception as error:  # noqa: BLE001  - it is known to raise AttributeError, RuntimeError and others
        return f"IPEX {version(PACKAGE)} cannot be imported: {type(error).__name__}: {error}"
    return lambda model, dtype: _optimized(module, model, dtype)


def _optimized(module: Any, model: Any, dtype: Any) -> Any:
    """HostError for what IPEX refuses: fp16 where the CPU has no instructions for it, for one."""
    try:
        return module.optimize(model, dtype=dtype, inplace=True)
    except (AssertionError, RuntimeError) as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        what = f"IPEX {version(PACKAGE)} does not take this model in {str(dtype).removeprefix('torch.')}: {why}"
        raise HostError(what, flag="--backend ipex", remedy="use --amp off or bf16, or --backend torch") from error


@contextlib.contextmanager
def _logging_kept() -> Iterator[None]:
    """IPEX gives the root logger a handler, and loggers that come later a class of its own: neither stays."""
    handlers, level, made = logging.root.handlers[:], logging.root.level, logging.getLoggerClass()
    try:
        yield
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
        logging.setLoggerClass(made)


def mismatch() -> str:
    """Why the installed versions cannot work together; empty when they can. Nothing is imported."""
    try:
        ipex = version(PACKAGE)
    except PackageNotFoundError:
        return "IPEX (intel-extension-for-pytorch) is not installed"
    try:
        torch = version("torch")
    except PackageNotFoundError:
        return f"IPEX {ipex} is installed, but torch is not"
    wanted = ".".join(ipex.split(".")[:2])
    if torch.split(".")[:2] != wanted.split("."):
        return f"IPEX {ipex} needs torch {wanted}, and torch {torch} is installed"
    return ""
