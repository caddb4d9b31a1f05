"""What the supervisor reads of the host, from trees made by hand and from the real one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from clipload.frames import Reading
from clipload.transports import Endpoint
from clipload.vitals import Vitals, limits, link, ports, quotas, sockets, tcp, throttled
from tests.namespaces import UNSHARED, need_a_namespace
from tests.servers import ROOT, environment

SNMP = """Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm OutSegs RetransSegs InErrs
Tcp: 1 40309211 36680 0
"""
NETSTAT = """TcpExt: SyncookiesSent TCPSynRetrans ListenOverflows
TcpExt: 0 79 4
IpExt: InNoRoutes
IpExt: 0
"""
SOCKSTAT = """sockets: used 182
TCP: inuse 38 orphan 0 tw 505 alloc 44 mem 12
UDP: inuse 0 mem 0
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    root = tmp_path / "proc"
    write(root / "net/snmp", SNMP)
    write(root / "net/netstat", NETSTAT)
    write(root / "net/sockstat", SOCKSTAT)
    write(root / "net/sockstat6", "TCP6: inuse 3\nUDP6: inuse 0\n")
    write(root / "sys/net/ipv4/ip_local_port_range", "32768\t60999\n")
    return root


def test_what_the_network_has_counted(proc: Path) -> None:
    assert tcp(proc) == (40309211, 36680, 79)
    assert sockets(proc) == (41, 505)
    assert ports(proc) == 28232


def test_what_is_not_told_is_nothing(tmp_path: Path) -> None:
    assert (tcp(tmp_path), sockets(tmp_path), ports(tmp_path), quotas(tmp_path, tmp_path)) == ((0, 0, 0), (0, 0), 0, [])
    assert Vitals([], {0: 2**22 + 1}, tmp_path, tmp_path).read().descriptors == {}


V1, V2 = "nr_periods 9\nnr_throttled 4\nthrottled_time 250000000\n", "usage_usec 5\nnr_throttled 3\nthrottled_usec 120000\n"


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("4:memory:/x\n1:cpu,cpuacct:/a/b\n", {"cpu,cpuacct/a/b": V1}, (4, 250_000_000)),
        ("1:cpu:/a/b\n", {"cpu/a/b": V1, "cpu/a": V1}, (8, 500_000_000)),  # a quota further up holds it back too
        ("0::/a.slice\n", {"a.slice": V2}, (3, 120_000_000)),
        ("0::/\n", {"": V2}, (3, 120_000_000)),  # a container sees its own as the root
        ("1:cpu:/a\n0::/\n", {"cpu/a": V1, "unified": V2}, (7, 370_000_000)),
        ("4:memory:/x\n", {"cpu/x": V1}, (0, 0)),
    ],
)
def test_what_a_quota_held_back(tmp_path: Path, membership: str, files: dict[str, str], expected: tuple[int, int]) -> None:
    write(tmp_path / "proc/self/cgroup", membership)
    for folder, text in files.items():
        write(tmp_path / "cgroup" / folder / "cpu.stat", text)
    assert throttled(quotas(tmp_path / "proc", tmp_path / "cgroup")) == expected


def test_a_reading_of_this_host() -> None:
    core = min(psutil.Process().cpu_affinity())
    vitals = Vitals([core, 4096], {3: os.getpid(), 4: 2**22 + 1})
    first = vitals.read()
    pair = socket.socketpair()
    second = vitals.read()
    for sock in pair:
        sock.close()
    assert isinstance(first, Reading)
    assert second.at_ns > first.at_ns
    assert set(first.cores) == {core}, "a core that does not exist is none"
    assert second.cores[core][0] >= first.cores[core][0] > 0
    assert set(first.descriptors) == {3}, "a worker that is gone has none"
    assert second.descriptors[3] == first.descriptors[3] + 2
    assert all(late >= early for early, late in zip(first.tcp, second.tcp))
    assert "lo" in first.traffic


def endpoint(family: int, *address: object) -> Endpoint:
    return Endpoint(url="http://x", host="x", family=family, address=address)


def test_this_machine_itself_has_no_link() -> None:
    assert link(endpoint(socket.AF_UNIX, "/tmp/x.sock")) == ""
    assert link(endpoint(socket.AF_INET, "127.0.0.1", 80)) == ""
    found = limits([endpoint(socket.AF_INET, "127.0.0.1", 80)])
    assert (found["links"], found["ports"] > 0, found["descriptors"] > 0) == ({}, True, True)


SCRIPT = """
ip link add near type veth peer name far
ip addr add 10.9.8.7/24 dev near
ip link set near up
ip link set far up
exec "$0" -c '
import socket
from clipload.transports import Endpoint
from clipload.vitals import limits
at = Endpoint(url="http://x", host="x", family=socket.AF_INET, address=("10.9.8.1", 80))
print(limits([at, at])["links"])'
"""


def test_the_interface_that_leads_to_a_target_and_its_speed() -> None:
    need_a_namespace()
    command = [*UNSHARED, "bash", "-ec", SCRIPT, sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT, env=environment())
    assert (done.stdout.strip(), done.stderr) == ("{'near': 10000000000}", "")  # what the kernel says of a veth
