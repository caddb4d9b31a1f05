"""The processes of a server on this host: found by the socket on which it listens, or by its pid, told apart by their names.

SGLang names its processes. Where none has such a name, all are the *server*.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from time import monotonic_ns
from typing import Any

import psutil

from clipload.errors import HostError
from clipload.sightings import DETOKENIZER, OTHER, SCHEDULER, SERVER, TOKENIZER, Glimpse
from clipload.transports import Endpoint
from clipload.vitals import busy_of, ms_of

NAMES = {  # the beginning of a process's name, of which the kernel keeps 15 characters -> its role
    "sglang::schedul": SCHEDULER,
    "sglang::detoken": DETOKENIZER,
    "sglang::tokeniz": TOKENIZER,
    "VLLM::EngineCor": SCHEDULER,
}
FORWARDERS = ("docker-proxy", "rootlessport", "slirp4netns", "ssh", "sshd", "kubectl", "socat", "nginx", "haproxy", "envoy")
RELIST_NS = 5 * 10**9  # how often children are looked for
LOOK_AGAIN_NS = 10**9
_ANY = ("0.0.0.0", "::")


def is_here(endpoint: Endpoint) -> bool:
    """Whether the target's address is one of this host's."""
    if endpoint.proxy:
        return False
    if endpoint.family == socket.AF_UNIX:
        return True
    with socket.socket(endpoint.family, socket.SOCK_DGRAM) as sock:  # connecting it sends nothing: it only asks for the route
        try:
            sock.connect(endpoint.socket_address)
        except OSError:
            return False
        return bool(sock.getsockname()[0] == endpoint.socket_address[0])


def listener(endpoint: Endpoint) -> psutil.Process | None:
    """Who listens there, as far as it can be seen: sockets of other users show nobody."""
    for one in psutil.net_connections("unix" if endpoint.family == socket.AF_UNIX else "inet"):
        if one.pid is None or not _listens_at(one, endpoint):
            continue
        try:
            return psutil.Process(one.pid)
        except psutil.NoSuchProcess:
            continue
    return None


def _listens_at(one: Any, endpoint: Endpoint) -> bool:
    if endpoint.family == socket.AF_UNIX:
        return bool(one.laddr == endpoint.socket_address)
    if one.status != psutil.CONN_LISTEN or not one.laddr:
        return False
    host, port = endpoint.socket_address[:2]
    return one.laddr.port == port and one.laddr.ip.removeprefix("::ffff:") in (host, *_ANY)


class Tree:
    """One server's processes. `missing` says why there are none. A server that was started anew is found again."""

    def __init__(self, endpoint: Endpoint, pid: int | None = None) -> None:
        """HostError when there is no process `pid`."""
        self._endpoint, self._pid = endpoint, pid
        self._here = pid is not None or is_here(endpoint)
        self._processes: dict[int, tuple[str, psutil.Process]] = {}
        self._listed_ns = self._looked_ns = 0
        self._root: psutil.Process | None = None
        self._cores: set[int] = set()
        self.missing = "" if self._here else "it is not on this host"
        if pid is not None and not psutil.pid_exists(pid):
            raise HostError(f"there is no process {pid}", flag="--server-pid", remedy="name the server's first process")

    def read(self) -> dict[int, Glimpse]:
        """Every process and its CPU time so far."""
        if not self._here or not self._listed():
            return {}
        found = {}
        for pid, (role, process) in self._processes.items():
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    found[pid] = Glimpse(role, ms_of(times.user + times.system), process.memory_info().rss)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                self._listed_ns = 0  # one is gone: who is there now?
        return found

    def _listed(self) -> bool:
        now = monotonic_ns()
        if self._processes and now - self._listed_ns < RELIST_NS and self._listed_ns:
            return True
        if self._root is None or not self._root.is_running():
            if self._looked_ns and now - self._looked_ns < LOOK_AGAIN_NS:
                return False
            self._looked_ns, self._root = now, self._find()
        self._listed_ns = now
        self._processes = {} if self._root is None else self._list(self._root)
        return bool(self._processes)

    def _find(self) -> psutil.Process | None:
        if self._pid is not None and psutil.pid_exists(self._pid):
            return psutil.Process(self._pid)
        found = listener(self._endpoint)
        where = self._endpoint.socket_address
        place = where if isinstance(where, str) else f"port {where[1]}"
        self.missing = f"nobody who listens on {place} can be seen: name the server with --server-pid" if found is None else ""
        if found is not None and self._pid is None and (name := _name(found)) in FORWARDERS:
            self.missing = f"{place} is held by {name}, which passes on: name the server with --server-pid"
            return None
        return found

    def _list(self, root: psutil.Process) -> dict[int, tuple[str, psutil.Process]]:
        """The root and all below it; where that holds us, not us and our workers."""
        try:
            family = [root, *root.children(recursive=True)]
            us = psutil.Process()
            ours = {us.pid, *(child.pid for child in us.children(recursive=True))} if us in family else set()
        except psutil.NoSuchProcess:
            return {}
        named = {process.pid: (_name(process), process) for process in family if process.pid not in ours}
        roles = roles_of({pid: name for pid, (name, _) in named.items()}, root.pid)
        self._cores = {core for _, process in named.values() for core in _cores(process)}
        return {pid: (roles[pid], self._kept(pid, process)) for pid, (_, process) in named.items()}

    @property
    def cores(self) -> int:
        """How many its processes may use."""
        return len(self._cores)

    def cores_ms(self) -> int:
        """How long these were busy so far, whoever used them."""
        times = psutil.cpu_times(percpu=True)
        return sum(ms_of(busy_of(times[core])) for core in self._cores if core < len(times))

    def _kept(self, pid: int, process: psutil.Process) -> psutil.Process:
        before = self._processes.get(pid)
        return before[1] if before is not None and before[1] == process else process

    def document(self) -> dict[str, object]:
        """Who was found, for the facts of a Run."""
        found = {str(pid): role for pid, (role, _) in self._processes.items()}
        return {"processes": found, "cores": self.cores, "missing": self.missing}


def roles_of(names: Mapping[int, str], root: int) -> dict[int, str]:
    """pid -> role. SGLang's first process is its tokenizer too, unless that has workers of its own."""
    known = {pid: role for pid, name in names.items() for prefix, role in NAMES.items() if name[:15].startswith(prefix)}
    if not known:
        return dict.fromkeys(names, SERVER)
    first = OTHER if TOKENIZER in known.values() else TOKENIZER
    return {pid: known.get(pid, first if pid == root else OTHER) for pid in names}


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""


def _cores(process: psutil.Process) -> list[int]:
    try:
        return process.cpu_affinity() if hasattr(process, "cpu_affinity") else list(range(os.cpu_count() or 1))
    except psutil.Error:
        return []
