"""Dumps: what is read is what was written, other libraries read it too, and what does not belong together is refused."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from clipload import dumps
from clipload.dumps import FORMATS, Rows, SideCar, format_of, formats, read, side_car_of, write
from clipload.errors import ArchiveError, HostError

SUFFIX = pytest.mark.parametrize("suffix", sorted(FORMATS))
Vectors = NDArray[np.float32]


@pytest.fixture(autouse=True)
def libraries(request: pytest.FixtureRequest) -> None:
    """Every format, where its library is here."""
    suffix = getattr(getattr(request.node, "callspec", None), "params", {}).get("suffix")
    if suffix:
        pytest.importorskip(FORMATS[suffix].needs, reason="its extra is not installed")


def side_car(vectors: Vectors, **changes: object) -> SideCar:
    given = {
        "kind": "text",
        "count": len(vectors),
        "dim": vectors.shape[1],
        "normalized": False,
        "checksum": "",
        "identity": {"dtype": "fp32"},
        "facts": {"isa": "AVX2"},
        "names": [f"ü{i}.jpg#0" for i in range(len(vectors))],
    }
    return SideCar(**(given | changes))  # type: ignore[arg-type]


@SUFFIX
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    vectors=arrays(
        np.float32,
        st.tuples(st.integers(1, 9), st.integers(1, 9)),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
    )
)
def test_what_is_read_is_what_was_written(suffix: str, tmp_path: Path, vectors: Vectors) -> None:
    path = tmp_path / f"v{suffix}"
    write(path, vectors, side_car(vectors))
    back = read(path)
    assert back.vectors.dtype == np.float32
    assert np.array_equal(back.vectors, vectors, equal_nan=True)
    assert back.vectors.shape == vectors.shape
    assert back.names == side_car(vectors).names
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name, f"{path.name}.json"]


def test_other_libraries_read_them(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the extra `local` is not installed")
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra `dumps` is not installed")
    safetensors = pytest.importorskip("safetensors.torch", reason="the extra `dumps` is not installed")
    vectors = np.arange(12, dtype=np.float32).reshape(3, 4)
    for suffix in FORMATS:
        write(tmp_path / f"v{suffix}", vectors, side_car(vectors))
    tensor = torch.load(tmp_path / "v.pt", weights_only=True)
    assert (type(tensor), tensor.dtype, tensor.tolist()) == (torch.Tensor, torch.float32, vectors.tolist())
    assert (np.load(tmp_path / "v.npy") == vectors).all()
    assert safetensors.load_file(tmp_path / "v.safetensors")["embeddings"].tolist() == vectors.tolist()
    table = parquet.read_table(tmp_path / "v.parquet")
    assert table.to_pydict() == {"name": ["ü0.jpg#0", "ü1.jpg#0", "ü2.jpg#0"], "embedding": vectors.tolist()}


def test_a_dump_without_a_side_car_has_no_names(tmp_path: Path) -> None:
    np.save(tmp_path / "old.npy", np.ones((2, 3), np.float16))
    found = read(tmp_path / "old.npy")
    assert (found.names, found.side_car, found.vectors.dtype) == (None, None, np.float32)


@SUFFIX
@pytest.mark.parametrize("harm", ["cut", "junk", "empty", "absent"])
def test_a_damaged_file(suffix: str, harm: str, tmp_path: Path) -> None:
    path = tmp_path / f"v{suffix}"
    vectors = np.ones((20, 30), np.float32)
    write(path, vectors, side_car(vectors))
    if harm == "absent":
        path.unlink()
    else:
        whole = path.read_bytes()
        path.write_bytes({"cut": whole[: len(whole) // 2], "junk": b"junk" * 100, "empty": b""}[harm])
    with pytest.raises(ArchiveError, match=r"v\.") as caught:
        read(path, "--dump-txt-emb")
    assert (caught.value.flag, bool(caught.value.remedy)) == ("--dump-txt-emb", True)


@pytest.mark.parametrize("shape", [(3,), (3, 2, 1)])
def test_what_is_no_set_of_vectors(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", np.ones(shape, np.float32))
    with pytest.raises(ArchiveError, match="not vectors"):
        read(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.ones((2, 2), np.int64))
    with pytest.raises(ArchiveError, match="int64"):
        read(tmp_path / "b.npy")


def test_a_pt_file_that_holds_more_than_numbers_is_not_executed(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the extra `local` is not installed")
    torch.save(Path("/a/path"), tmp_path / "evil.pt")
    torch.save({"a": torch.ones(2)}, tmp_path / "dict.pt")
    for name in ("evil.pt", "dict.pt"):
        with pytest.raises(ArchiveError, match=name):
            read(tmp_path / name)


def test_a_side_car_of_another_file(tmp_path: Path) -> None:
    path = tmp_path / "v.npy"
    vectors = np.ones((2, 3), np.float32)
    write(path, vectors, side_car(vectors))
    np.save(path, np.zeros((2, 3), np.float32))
    with pytest.raises(ArchiveError, match=r"is not the file that v\.npy\.json speaks of"):
        read(path)
    side_car_of(path).write_text("{}")
    with pytest.raises(ArchiveError, match="cannot read"):
        read(path)
    write(path, vectors, side_car(vectors))
    document = json.loads(side_car_of(path).read_text())
    side_car_of(path).write_text(json.dumps(document | {"schema": 99}))
    with pytest.raises(ArchiveError, match="schema 99"):
        read(path)


def test_suffixes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert format_of(Path("a.b.NPY")) is FORMATS[".npy"]
    for name in ("a", "a.txt", "npy"):
        with pytest.raises(ArchiveError, match="no dump of that suffix") as caught:
            format_of(Path(name), "--dump-img-emb")
        assert ".parquet" in caught.value.remedy
        assert caught.value.flag == "--dump-img-emb"
    monkeypatch.setattr(formats, "installed", lambda module: module == "numpy")
    with pytest.raises(ArchiveError, match="needs pyarrow") as caught:
        format_of(Path("a.parquet"))
    assert "'.[dumps]'" in caught.value.remedy
    with pytest.raises(ArchiveError, match="needs torch"):
        format_of(Path("a.pt"))


def test_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "v.npy"
    first, second = np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32)
    write(path, first, side_car(first))

    def full(file: object, rows: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(dumps.FORMATS, ".npy", dumps.Format("numpy", "", full, formats.read_npy))
    with pytest.raises(HostError, match="No space left"):
        write(path, second, side_car(second), "--dump-txt-emb")
    assert [file.name for file in tmp_path.iterdir()] == ["v.npy"], "the old dump is whole, without a side-car that could lie"
    assert (np.load(path) == first).all()


@SUFFIX
def test_rows_in_chunks_are_the_same_dump(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all sizes, one after the other; a row group of Parquet holds several."""
    monkeypatch.setattr(formats, "GROUP_BYTES", 7 * 12)
    vectors = np.arange(60, dtype=np.float32).reshape(20, 3)
    whole = side_car(vectors, skipped=["a", 'b "names": []'], identity={"names": [], "nested": {"a": [1, {"b": None}]}})
    cuts = [0, 1, 3, 4, 9, 18, 20]
    parts = [(whole.names[a:b], vectors[a:b]) for a, b in pairwise(cuts)]
    rows = Rows(20, 3, lambda: iter(parts))
    write(tmp_path / f"v{suffix}", rows, msgspec.structs.replace(whole, names=[]))
    back = read(tmp_path / f"v{suffix}")
    assert (back.vectors == vectors).all()
    assert back.side_car is not None
    assert back.side_car == msgspec.structs.replace(whole, checksum=back.side_car.checksum)
    printed = side_car_of(tmp_path / f"v{suffix}").read_bytes()
    assert printed == msgspec.json.format(msgspec.json.encode(back.side_car), indent=1)
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"v{suffix}", f"v{suffix}.json"]
