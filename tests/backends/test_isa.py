"""Instruction sets: what flags mean, what a cap leaves, and what --amp becomes of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipload.backends import BackendOptions
from clipload.backends.isa import CAPS, LEVELS, NATIVE, VARIABLE, Isa, capped, cpu_flags, dtype_for, isa_of
from clipload.errors import HostError

ALL = frozenset(flag for flags in LEVELS.values() for flag in flags)
ZEN4 = frozenset({"sse4_1", "avx", "avx2", "avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx512_bf16"})
SKYLAKE = ZEN4 - {"avx512_bf16", "avx512_vnni"}
SAPPHIRE = ALL - {"amx_fp16", "avx_vnni_int8", "avx_ne_convert"}
FLAGS = st.frozensets(st.sampled_from(sorted(ALL)))


@pytest.mark.parametrize(
    ("flags", "cap", "name", "natively"),
    [
        (ZEN4, None, "AVX512_CORE_BF16", {"bf16"}),
        (ZEN4, "AVX512_CORE", "AVX512_CORE", set()),
        (ZEN4, "avx512_core_amx", "AVX512_CORE_BF16", {"bf16"}),
        (SKYLAKE, None, "AVX512_CORE", set()),
        (SAPPHIRE, None, "AVX512_CORE_AMX", {"bf16", "fp16"}),
        (SAPPHIRE, CAPS["off"], "AVX512_CORE_BF16", {"bf16"}),
        (SAPPHIRE, CAPS["on"], "AVX512_CORE_AMX", {"bf16", "fp16"}),
        (SAPPHIRE, "ALL", "AVX512_CORE_AMX", {"bf16", "fp16"}),
        (ALL, None, "AVX512_CORE_AMX_FP16", {"bf16", "fp16"}),
        (frozenset({"sse4_1", "avx", "avx2"}), None, "AVX2", set()),
        (frozenset({"asimd", "bf16", "asimdhp"}), None, "generic", {"bf16", "fp16"}),
        (frozenset(), None, "generic", set()),
    ],
)
def test_levels(flags: frozenset[str], cap: str | None, name: str, natively: set[str]) -> None:
    assert isa_of(flags, cap) == Isa(name, frozenset(natively), "amx_tile" in flags)


@given(flags=FLAGS, more=FLAGS, cap=st.sampled_from([None, *LEVELS]))
def test_more_flags_never_lower_it_and_a_cap_never_raises_it(
    flags: frozenset[str], more: frozenset[str], cap: str | None
) -> None:
    order = ["generic", *LEVELS]
    low, high, bound = isa_of(flags, cap), isa_of(flags | more, cap), isa_of(flags, None)
    assert order.index(low.name) <= order.index(high.name)
    assert order.index(low.name) <= order.index(bound.name)
    assert cap is None or order.index(low.name) <= order.index(cap)
    assert set(NATIVE) >= low.natively


def test_the_flags_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nflags\t\t: fpu avx avx2\nbugs\t: none\nflags : other\n")
    assert cpu_flags(file) == {"fpu", "avx", "avx2"}
    file.write_text("processor\t: 0\nFeatures\t: fp asimd bf16\n")
    assert cpu_flags(file) == {"fp", "asimd", "bf16"}
    assert cpu_flags(tmp_path / "none") == frozenset()


@pytest.mark.parametrize(
    ("amp", "flags", "dtype", "warned"),
    [
        ("off", SKYLAKE, "fp32", False),
        ("auto", SKYLAKE, "fp32", False),
        ("auto", ZEN4, "bf16", False),
        ("bf16", ZEN4, "bf16", False),
        ("bf16", SKYLAKE, "bf16", True),
        ("fp16", SAPPHIRE, "fp16", False),
        ("parity", ZEN4, "fp32", False),
    ],
)
def test_precision(amp: str, flags: frozenset[str], dtype: str, warned: bool) -> None:
    said: list[str] = []
    assert dtype_for(BackendOptions(amp=amp, say=said.append), isa_of(flags, None)) == dtype
    assert bool(said) == warned
    assert not warned or "half the speed" in said[0]


def test_fp16_without_instructions_for_it_is_refused_unless_forced() -> None:
    isa = isa_of(ZEN4, None)
    with pytest.raises(HostError, match="five times slower") as caught:
        dtype_for(BackendOptions(amp="fp16"), isa)
    assert (caught.value.flag, "--force" in caught.value.remedy) == ("--amp", True)
    assert dtype_for(BackendOptions(amp="fp16", force=True), isa) == "fp16"


def test_a_cap_is_set_before_torch_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setenv(VARIABLE, "ALL")
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert capped(BackendOptions(amx="auto"), SAPPHIRE).name == "AVX512_CORE_AMX"
    assert capped(BackendOptions(amx="off"), SAPPHIRE).name == "AVX512_CORE_BF16" == os.environ[VARIABLE]
    assert capped(BackendOptions(amx="on", say=said.append), SAPPHIRE).name == "AVX512_CORE_AMX" == os.environ[VARIABLE]
    assert said == []
    assert capped(BackendOptions(amx="on", say=said.append), ZEN4).name == "AVX512_CORE_BF16"
    assert "no AMX" in said[0]
    monkeypatch.setitem(sys.modules, "torch", object())
    assert capped(BackendOptions(amx="on"), SAPPHIRE).name == "AVX512_CORE_AMX", "as it is already"
    with pytest.raises(HostError, match="loaded already"):
        capped(BackendOptions(amx="off"), SAPPHIRE)


PROGRAM = """
import torch
with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
    torch.nn.Linear(64, 64)(torch.zeros(8, 64))
"""
NAMES = {  # how oneDNN's verbose log calls its levels
    "AVX512_CORE": "Intel AVX-512 with AVX512BW, AVX512VL, and AVX512DQ extensions",
    "AVX512_CORE_VNNI": "Intel AVX-512 with Intel DL Boost",
    "AVX512_CORE_BF16": "Intel AVX-512 with Intel DL Boost and bfloat16 support",
}


@pytest.mark.slow
@pytest.mark.parametrize("cap", [*NAMES, None])
def test_onednn_says_the_same(cap: str | None) -> None:
    pytest.importorskip("torch", reason="the extra `local` is not installed")
    env = os.environ | {"ONEDNN_VERBOSE": "2"} | ({VARIABLE: cap} if cap else {})
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=100, check=True, env=env)
    line = next(line for line in done.stdout.splitlines() if "cpu,isa:" in line)
    name = isa_of(cpu_flags(), cap).name
    if name not in NAMES:
        pytest.skip(f"this CPU reaches {name}, whose words in the log are not known here")
    assert line.partition("isa:")[2] == NAMES[name]
