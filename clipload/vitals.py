"""The vitals of the host, as its kernel counts them: read by the supervisor once a second, on a core that is not a worker's.

What a kernel or a container does not tell is left out of a Reading, and then judged by nobody.
"""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from time import monotonic_ns
from typing import Any

import psutil

from clipload.frames import Reading
from clipload.transports import Endpoint

_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
_LOOPBACK = "lo"


class Vitals:
    """`cores`: those of the workers. `workers`: number -> process id."""

    def __init__(self, cores: Iterable[int], workers: Mapping[int, int], proc: Path = _PROC, cgroups: Path = _CGROUPS) -> None:
        self._cores = tuple(cores)
        self._workers = dict(workers)
        self._proc = proc
        self._quotas = quotas(proc, cgroups)

    def read(self) -> Reading:
        return Reading(
            at_ns=monotonic_ns(),
            cores=self._core_times(),
            throttled=throttled(self._quotas),
            tcp=tcp(self._proc),
            sockets=sockets(self._proc),
            descriptors=self._descriptors(),
            traffic={name: (n.bytes_sent, n.bytes_recv) for name, n in psutil.net_io_counters(pernic=True).items()},
        )

    def _core_times(self) -> dict[int, tuple[int, int, int]]:
        times = psutil.cpu_times(percpu=True)
        found = {core: times[core] for core in self._cores if core < len(times)}
        return {
            core: (ms_of(busy_of(t) + t.idle), ms_of(getattr(t, "steal", 0)), ms_of(t.softirq)) for core, t in found.items()
        }

    def _descriptors(self) -> dict[int, int]:
        """A worker that has just died has none."""
        found = {}
        for number, pid in self._workers.items():
            try:
                found[number] = len(os.listdir(self._proc / str(pid) / "fd"))  # noqa: PTH208  - nothing but their number
            except OSError:
                continue
        return found


def busy_of(times: Any) -> float:
    """All that is not idle; guests are within user time."""
    return float(sum(value for name, value in times._asdict().items() if name not in ("idle", "guest", "guest_nice")))


def ms_of(seconds: float) -> int:
    return round(1000 * seconds)


def quotas(proc: Path, cgroups: Path) -> list[Path]:
    """cpu.stat of this process's cgroup and of those above it, of both versions, as far as they can be seen."""
    found = []
    for line in _lines(proc / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            roots = [cgroups, cgroups / "unified"]
        elif "cpu" in controllers.split(","):
            roots = [cgroups / controllers, cgroups / "cpu"]
        else:
            continue
        below = Path(path.lstrip("/"))
        for root in roots:
            found += [root / part / "cpu.stat" for part in (below, *below.parents)]
    return [path for path in dict.fromkeys(found) if path.is_file()]


def throttled(stats: Iterable[Path]) -> tuple[int, int]:
    """How often and how long (ns), all cgroups together; version 2 counts µs."""
    times = held_ns = 0
    for path in stats:
        counts = dict(line.split() for line in _lines(path))
        times += int(counts.get("nr_throttled", 0))
        held_ns += int(counts.get("throttled_time", 0)) + 1000 * int(counts.get("throttled_usec", 0))
    return times, held_ns


def tcp(proc: Path) -> tuple[int, int, int]:
    """Segments sent, sent again, connects asked for again: of the whole network namespace."""
    snmp, more = _table(proc / "net" / "snmp", "Tcp:"), _table(proc / "net" / "netstat", "TcpExt:")
    return snmp.get("OutSegs", 0), snmp.get("RetransSegs", 0), more.get("TCPSynRetrans", 0)


def sockets(proc: Path) -> tuple[int, int]:
    """TCP sockets in use (both families), and in TIME_WAIT."""
    used = waiting = 0
    for path in (proc / "net" / "sockstat", proc / "net" / "sockstat6"):
        for line in _lines(path):
            name, *words = line.split()
            if name in ("TCP:", "TCP6:"):
                counts = dict(zip(words[::2], map(int, words[1::2]), strict=True))
                used += counts.get("inuse", 0)
                waiting += counts.get("tw", 0)
    return used, waiting


def ports(proc: Path = _PROC) -> int:
    """How many local ports connections to one address may have; 0: unknown."""
    low, high = next(iter(_lines(proc / "sys/net/ipv4/ip_local_port_range")), "1 0").split()
    return max(0, int(high) - int(low) + 1)


def _table(path: Path, name: str) -> dict[str, int]:
    """A pair of lines of /proc/net: names, then numbers."""
    lines = [line.split()[1:] for line in _lines(path) if line.startswith(name)]
    return dict(zip(lines[0], map(int, lines[1]), strict=True)) if len(lines) == 2 else {}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def limits(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """What there is of ports, of descriptors for each worker, and of links that lead to targets (bits/s); 0: unknown."""
    names = sorted({name for name in map(link, endpoints) if name})
    stats = psutil.net_if_stats()
    return {
        "ports": ports(),
        "descriptors": max(0, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        "links": {name: max(0, stats[name].speed) * 10**6 if name in stats else 0 for name in names},
    }


def link(endpoint: Endpoint) -> str:
    """The interface through which the target is reached; "" for this machine's own, or when it cannot be told."""
    if endpoint.family == socket.AF_UNIX:
        return ""
    with socket.socket(endpoint.family, socket.SOCK_DGRAM) as sock:  # connecting it sends nothing: it only asks for the route
        try:
            sock.connect(endpoint.socket_address)
        except OSError:
            return ""
        mine = sock.getsockname()[0]
    for name, addresses in psutil.net_if_addrs().items():
        if name != _LOOPBACK and any(address.address.partition("%")[0] == mine for address in addresses):
            return name
    return ""
