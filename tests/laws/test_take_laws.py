"""Law of a large body's way out: whatever its pieces, every byte goes once and in order, in portions that one sendmsg takes."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from clipload.transports.stream import PIECES, _take


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=60), st.integers(1, 40))
@example([b"ab"] * (3 * PIECES), 10**6)
def test_every_byte_goes_once_and_in_order(pieces: list[bytes], size: int) -> None:
    rest = [memoryview(piece) for piece in reversed(pieces)]
    sent = b""
    while rest:
        portion, length = _take(rest, size)
        assert 0 < length <= size
        assert len(portion) <= PIECES
        assert sum(map(len, portion)) == length
        sent += b"".join(portion)
    assert sent == b"".join(pieces)
