"""The clients that clipload is held against: `python -m benchmarks.rivals KIND URL BODY SECONDS IN_FLIGHT`, a process each.

bare: a uvloop Protocol with httptools that sends one ready-made request and measures nothing: the least that Python can do.
aiohttp: a session and `json=`, as most Python load generators are written. sendall: one blocking socket, one request at a time.
Prints one line of JSON: requests, seconds of wall time, seconds of the process's CPU, bytes sent.
"""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httptools
import uvloop


def request(url: str, body: bytes) -> bytes:
    host = urlsplit(url).netloc
    head = (
        f"POST /v1/embeddings HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Bare(asyncio.Protocol):
    def __init__(self, message: bytes) -> None:
        self.message = message
        self.parser = httptools.HttpResponseParser(self)
        self.done = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.message)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.done += 1
        self.transport.write(self.message)


async def bare(url: str, body: bytes, seconds: float, in_flight: int) -> int:
    loop = asyncio.get_running_loop()
    address = urlsplit(url)
    message = request(url, body)
    made = [await loop.create_connection(lambda: Bare(message), address.hostname, address.port) for _ in range(in_flight)]
    await asyncio.sleep(seconds)
    done = sum(protocol.done for _, protocol in made)
    for transport, _ in made:
        transport.abort()
    return done


async def with_aiohttp(url: str, body: bytes, seconds: float, in_flight: int) -> int:
    import aiohttp

    document = json.loads(body)
    end = time.monotonic() + seconds
    done = 0

    async def one(session: aiohttp.ClientSession) -> None:
        nonlocal done
        while time.monotonic() < end:
            async with session.post(f"{url}/v1/embeddings", json=document) as reply:
                await reply.read()
            done += 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(one(session) for _ in range(in_flight)))
    return done


def sendall(url: str, body: bytes, seconds: float) -> int:
    address = urlsplit(url)
    message = memoryview(request(url, body))
    done, end = 0, time.monotonic() + seconds
    with socket.create_connection((address.hostname or "", address.port or 80)) as sock:
        length = 0
        while time.monotonic() < end:
            sock.sendall(message)
            got = sock.recv(1 << 20)
            if not length:
                head = got.split(b"\r\n\r\n", 1)[0]
                length = len(head) + 4 + int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            size = len(got)
            while size < length:
                size += len(sock.recv(1 << 20))
            done += 1
    return done


def main(kind: str, url: str, body_file: str, seconds: str, in_flight: str) -> None:
    body = Path(body_file).read_bytes()
    began, cpu = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    if kind == "sendall":
        done = sendall(url, body, float(seconds))
    else:
        client = {"bare": bare, "aiohttp": with_aiohttp}[kind]
        done = uvloop.run(client(url, body, float(seconds), int(in_flight)))
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
    print(json.dumps({"requests": done, "wall_s": time.monotonic() - began, "cpu_s": spent, "bytes": done * len(body)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
