"""The least that a paced client can be: `python -m tests.bare_client HOST PORT RATE SECONDS [LATE]` prints latencies in ns, as
JSON.

One process, blocking sockets and select(2); at each instant of a Poisson process a request on a connection that is free, else
on a new one; latency from the instant at which it was due. It has nothing in common with clipload but the request. With LATE
it is one that must not pass for it: it looks at a reply so many seconds after it came.
"""

from __future__ import annotations

import json
import random
import re
import select
import socket
import sys
import time
from itertools import accumulate

BODY = json.dumps({"input": "a photo of a cat", "model": "m"}).encode()


class Connection:
    """One request at a time."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.head = f"POST /v1/embeddings HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n".encode()
        self.due = 0

    def send(self, due: int) -> None:
        self.due, self.reply = due, b""
        self.socket.sendall(self.head + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)

    def read(self) -> bool:
        """Whether the reply is whole."""
        self.reply += self.socket.recv(65536)
        head, _, body = self.reply.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if length is None or len(body) < int(length[1]):
            return False
        assert head.startswith(b"HTTP/1.1 200")
        return True


def load(host: str, port: int, rate: float, seconds: float, late: float = 0.0) -> list[int]:
    idle = [Connection(host, port) for _ in range(4)]
    busy: dict[socket.socket, Connection] = {}
    start = time.monotonic_ns() + 50_000_000
    draws = random.Random(1)
    due = [start + round(1e9 * at) for at in accumulate(draws.expovariate(rate) for _ in range(round(rate * seconds)))]
    latencies: list[int] = []
    sent = 0
    while len(latencies) < len(due):
        ahead = (due[sent] - time.monotonic_ns()) / 1e9 if sent < len(due) else 1.0
        ready, _, _ = select.select(list(busy), [], [], max(0.0, ahead))
        if ready and late:
            time.sleep(late)
        for one in ready:
            if busy[one].read():
                connection = busy.pop(one)
                latencies.append(time.monotonic_ns() - connection.due)
                idle.append(connection)
        while sent < len(due) and due[sent] <= time.monotonic_ns():
            connection = idle.pop() if idle else Connection(host, port)
            connection.send(due[sent])
            busy[connection.socket] = connection
            sent += 1
    return latencies


if __name__ == "__main__":
    print(json.dumps(load(sys.argv[1], int(sys.argv[2]), *map(float, sys.argv[3:]))))
