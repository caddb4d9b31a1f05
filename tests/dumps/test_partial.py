"""A dump in the making survives a kill at any byte, and belongs to one embedding and one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipload.dumps.partial import Batch, Partial, check_identity
from clipload.errors import ArchiveError, HostError

IDENTITY = {"weights": "a" * 64, "dtype": "fp32", "normalized": False}
FLAG = "--dump-txt-emb"


def batch(number: int) -> Batch:
    data = np.full((2, 3), number, "<f4")
    names = [f"n{number}.{k}" for k in range(2)]
    return Batch(upto=2 * number + 2, names=names, skipped=["x"] * number, truncated=names[:1], dim=3, data=data.tobytes())


def make(path: Path, count: int) -> bytes:
    partial = Partial(path, IDENTITY, FLAG)
    for number in range(count):
        partial.append(batch(number))
    partial.close()
    return path.read_bytes()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 10_000), junk=st.binary(max_size=20))
def test_what_was_whole_before_the_cut_is_still_there(tmp_path: Path, cut: int, junk: bytes) -> None:
    path = tmp_path / "v.pt.part"
    path.unlink(missing_ok=True)
    ends = [len(make(path.with_name("other"), 0))]
    path.with_name("other").unlink()
    whole = make(path, 3)
    size = (len(whole) - ends[0]) // 3
    cut = cut % (len(whole) + 1)
    path.write_bytes(whole[:cut] + (junk if cut > ends[0] else b""))
    again = Partial(path, IDENTITY, FLAG)
    found = list(again.batches())
    kept = len(found)
    assert found == [batch(number) for number in range(kept)]
    assert kept <= 3
    assert kept >= sum(cut >= ends[0] + size * (k + 1) for k in range(3)) - 1  # frames differ by a few bytes of names
    assert again.upto == 2 * kept
    again.append(batch(kept))
    again.close()
    last = Partial(path, IDENTITY, FLAG)
    assert list(last.batches()) == [batch(number) for number in range(kept + 1)], "what is appended follows what was whole"
    last.finish()
    assert not path.exists()


def test_another_embedding(tmp_path: Path) -> None:
    path = tmp_path / "v.pt.part"
    make(path, 2)
    other = IDENTITY | {"weights": "b" * 64, "dtype": "bf16"}
    with pytest.raises(ArchiveError, match="belongs to another embedding") as caught:
        Partial(path, other, FLAG)
    assert caught.value.flag == FLAG
    assert "weights (--model): aaaaaaaaaaaa… there, bbbbbbbbbbbb… here" in caught.value.what
    assert "dtype (--amp): fp32 there, bf16 here" in caught.value.what
    assert "--overwrite" in caught.value.remedy
    same = Partial(path, IDENTITY, FLAG, overwrite=True)
    assert len(list(same.batches())) == 2, "its own it goes on with"
    same.close()
    anew = Partial(path, other, FLAG, overwrite=True)
    assert list(anew.batches()) == []
    anew.close()
    check_identity(path, other, other, FLAG)


def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "v.pt.part"
    path.write_text("my notes")
    for overwrite in (False, True):
        with pytest.raises(ArchiveError, match="none of ours"):
            Partial(path, IDENTITY, FLAG, overwrite=overwrite)
    assert path.read_text() == "my notes"


def test_two_at_once(tmp_path: Path) -> None:
    path = tmp_path / "v.pt.part"
    first = Partial(path, IDENTITY, FLAG)
    with pytest.raises(ArchiveError, match="another process"):
        Partial(path, IDENTITY, FLAG)
    first.close()
    Partial(path, IDENTITY, FLAG).close()


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="cannot write") as caught:
        Partial(tmp_path / "none" / "v.part", IDENTITY, FLAG)
    assert caught.value.flag == FLAG
