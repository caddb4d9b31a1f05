"""An absolute alarm clock for an event loop: calls back when CLOCK_MONOTONIC reaches a named nanosecond.

With timerfd (Linux) the median lateness is some 0.03 ms; an event loop's own timers count whole milliseconds and, under
uvloop, ring early. Where there is none `LoopAlarm` stands in and `kind` of the alarm says so in the Run.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
import time
from collections.abc import Callable
from typing import Protocol

_CLOCK_MONOTONIC, _ABSOLUTE = 1, 1
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC


class Alarm(Protocol):
    """Law: the callback never runs before the instant asked for; setting again replaces the earlier instant."""

    kind: str

    def set(self, when_ns: int) -> None:
        """Ring at `when_ns` (> 0), or at the next turn of the loop when that has passed."""

    def close(self) -> None: ...


class TimerfdAlarm:
    """timerfd watched by the loop."""

    kind = "timerfd"

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop, self._callback = loop, callback
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(_CLOCK_MONOTONIC, _FLAGS)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._spec = ctypes.create_string_buffer(32)
        self._settime = self._libc.timerfd_settime
        self._settime.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
        loop.add_reader(self._fd, self._ring)

    def set(self, when_ns: int) -> None:
        seconds, nanoseconds = divmod(when_ns, 1_000_000_000)
        struct.pack_into("=qqqq", self._spec, 0, 0, 0, seconds, nanoseconds or 1)  # 0 would disarm it
        if self._settime(self._fd, _ABSOLUTE, self._spec, None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def _ring(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:  # set again since the loop saw it ready: it will ring at the new instant
            return
        self._callback()

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1


class LoopAlarm:
    """The loop's own timers, re-set when they ring early. Late by up to 1 ms."""

    kind = "loop timer (1 ms)"

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop, self._callback = loop, callback
        self._handle: asyncio.Handle | None = None

    def set(self, when_ns: int) -> None:
        self.close()
        self._when_ns = when_ns
        delay_s = (when_ns - time.monotonic_ns()) / 1e9
        self._handle = self._loop.call_later(delay_s, self._ring) if delay_s > 0 else self._loop.call_soon(self._ring)

    def _ring(self) -> None:
        if time.monotonic_ns() < self._when_ns:
            self.set(self._when_ns)
        else:
            self._handle = None
            self._callback()

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


def alarm(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> Alarm:
    """The best alarm that this system has; `kind` says which, and a Run records it."""
    try:
        return TimerfdAlarm(loop, callback)
    except (AttributeError, OSError):  # no such call in this libc, or none that a sandbox lets pass
        return LoopAlarm(loop, callback)
