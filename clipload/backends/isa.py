"""oneDNN's instruction sets: what the CPU has, and what is left of it under a cap. Read from /proc/cpuinfo, because torch need
not be imported to know, and must not be before the cap is set.

The order is that of oneDNN's ONEDNN_MAX_CPU_ISA. bf16 without instructions of its own takes
twice the time of fp32, fp16 five times.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from clipload.backends import PARITY, BackendOptions
from clipload.errors import HostError

VARIABLE = "ONEDNN_MAX_CPU_ISA"
_AVX512 = ("avx512f", "avx512bw", "avx512vl", "avx512dq")
_FP16 = (*_AVX512, "avx512_vnni", "avx512_bf16", "avx512_fp16")
_AMX = (*_FP16, "amx_tile", "amx_int8", "amx_bf16")
LEVELS = {  # weakest first; flags as Linux spells them
    "SSE41": ("sse4_1",),
    "AVX": ("avx",),
    "AVX2": ("avx2",),
    "AVX2_VNNI": ("avx2", "avx_vnni"),
    "AVX2_VNNI_2": ("avx2", "avx_vnni", "avx_vnni_int8", "avx_ne_convert"),
    "AVX512_CORE": _AVX512,
    "AVX512_CORE_VNNI": (*_AVX512, "avx512_vnni"),
    "AVX512_CORE_BF16": (*_AVX512, "avx512_vnni", "avx512_bf16"),
    "AVX512_CORE_FP16": _FP16,
    "AVX512_CORE_AMX": _AMX,
    "AVX512_CORE_AMX_FP16": (*_AMX, "amx_fp16"),
}
NATIVE = {  # the levels from which a type has instructions of its own
    "bf16": ("AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX512_CORE_AMX", "AVX512_CORE_AMX_FP16"),
    "fp16": ("AVX512_CORE_FP16", "AVX512_CORE_AMX", "AVX512_CORE_AMX_FP16"),
}
CAPS = {"on": "AVX512_CORE_AMX", "off": "AVX512_CORE_BF16"}  # of --amx


@dataclass(frozen=True, slots=True)
class Isa:
    """`name`: the level in force; `natively`: the types it computes in; `amx`: whether the CPU has AMX at all."""

    name: str
    natively: frozenset[str]
    amx: bool


def cpu_flags(file: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """The first core's flags; none where the system does not say."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith(("flags", "Features"))), "").split())


def isa_of(flags: frozenset[str], cap: str | None) -> Isa:
    """The highest level that `flags` allow, not above `cap` (another word than oneDNN's, such as ALL, is no cap)."""
    names = list(LEVELS)
    allowed = names[: names.index(cap.upper()) + 1] if cap and cap.upper() in LEVELS else names
    name = next((name for name in reversed(allowed) if flags.issuperset(LEVELS[name])), "generic")
    arm = {"bf16": "bf16", "fp16": "asimdhp"}
    natively = [kind for kind in NATIVE if name in NATIVE[kind] or (name == "generic" and arm[kind] in flags)]
    return Isa(name, frozenset(natively), "amx_tile" in flags)


def capped(options: BackendOptions, flags: frozenset[str]) -> Isa:
    """Sets --amx's cap for oneDNN, which reads it once, when torch first computes. HostError when that may be past."""
    cap = CAPS.get(options.amx)
    if cap and os.environ.get(VARIABLE) != cap:
        if "torch" in sys.modules:
            remedy = f"set {VARIABLE}={cap} before Python starts, and leave --amx out"
            raise HostError("torch is loaded already, and its instruction set chosen", flag="--amx", remedy=remedy)
        os.environ[VARIABLE] = cap
    isa = isa_of(flags, os.environ.get(VARIABLE))
    if options.amx == "on" and not isa.amx:
        options.say(f"--amx on: this CPU has no AMX; the best that it has is {isa.name}")
    return isa


def dtype_for(options: BackendOptions, isa: Isa) -> str:
    """`--amp` on a CPU → fp32, bf16 or fp16. Warns where bf16 is slower than fp32; HostError for fp16 that is not forced."""
    if options.amp == "auto":
        return "bf16" if "bf16" in isa.natively else "fp32"
    if options.amp == "bf16" and "bf16" not in isa.natively:
        options.say(f"--amp bf16: {isa.name} computes no bf16 natively: expect half the speed of --amp off")
    if options.amp == PARITY and "bf16" not in isa.natively:
        options.say(f"--amp parity: {isa.name} computes no bf16 natively, so nothing is gained by it: fp32")
    if options.amp == "fp16" and "fp16" not in isa.natively and not options.force:
        what = f"fp16 on this CPU ({isa.name}) is about five times slower than fp32"
        raise HostError(what, flag="--amp", remedy="use --amp auto, bf16 or off; or --force, if you want it all the same")
    return "fp32" if options.amp in ("off", PARITY) else options.amp
