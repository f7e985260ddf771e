"""CPU time of one chat call in the client, by HTTP client.

    python benchmarks/transport.py [--calls 2000] [--in-flight 64 256] [--delay-ms 50] [--json]

The server runs in another process (`critic_loop.testing.server`) and answers with 4 KB after a delay. CPU is
`time.process_time` of the client. Compare ratios, and measure on your own machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager

import aiohttp
import httpx
import orjson
from httpx_aiohttp import AiohttpTransport

from critic_loop.core.messages import system, user
from critic_loop.core.protocols import Request
from critic_loop.core.records import Sampling
from critic_loop.models import ChatModel, Limited, Retrying

PROMPT = "Judge the answer below, step by step. " * 60
Send = Callable[[int], Awaitable[object]]


def body(n: int) -> dict[str, object]:
    messages = [
        {"role": "system", "content": "You are a critic."},
        {"role": "user", "content": f"{n} {PROMPT}"},
    ]
    return {"model": "test", "messages": messages, "temperature": 0.0, "max_tokens": 512}


@asynccontextmanager
async def bare_aiohttp(url: str) -> AsyncIterator[Send]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def send(n: int) -> object:
            headers = {"Content-Type": "application/json"}
            async with session.post(
                f"{url}/chat/completions", data=orjson.dumps(body(n)), headers=headers
            ) as r:
                return orjson.loads(await r.read())["choices"]

        yield send


@asynccontextmanager
async def httpx_over(url: str, transport: httpx.AsyncBaseTransport) -> AsyncIterator[Send]:
    async with httpx.AsyncClient(transport=transport, timeout=None) as client:

        async def send(n: int) -> object:
            headers = {"Content-Type": "application/json"}
            r = await client.post(f"{url}/chat/completions", content=orjson.dumps(body(n)), headers=headers)
            return orjson.loads(r.content)["choices"]

        yield send


def plain_httpx(url: str) -> object:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx_over(url, httpx.AsyncHTTPTransport(limits=limits))


def httpx_on_aiohttp(url: str) -> object:
    return httpx_over(url, AiohttpTransport(limits=httpx.Limits(max_connections=0)))


def ours(url: str, *, wrapped: bool) -> object:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Send]:
        model = ChatModel("test", url=url)
        top = Retrying(Limited(model, 10_000)) if wrapped else model

        async def send(n: int) -> object:
            messages = (system("You are a critic."), user(f"{n} {PROMPT}"))
            return await top.complete(
                Request(messages=messages, sampling=Sampling(temperature=0.0, max_tokens=512))
            )

        yield send
        await top.aclose()

    return opened()


CLIENTS = {
    "bare aiohttp": bare_aiohttp,
    "httpx over httpx-aiohttp": httpx_on_aiohttp,
    "plain httpx": plain_httpx,
    "ChatModel": lambda url: ours(url, wrapped=False),
    "Retrying(Limited(ChatModel))": lambda url: ours(url, wrapped=True),
}


@contextmanager
def server(delay_ms: float):
    command = [sys.executable, "-m", "critic_loop.testing.server", "--reply-bytes", "4096"]
    process = subprocess.Popen([*command, "--delay-ms", str(delay_ms)], stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


async def measure(client, url: str, calls: int, in_flight: int) -> dict[str, float]:
    async with client(url) as send:
        numbers = iter(range(calls))

        async def lane() -> None:
            for n in numbers:
                await send(n)

        await asyncio.gather(*[send(-1 - n) for n in range(in_flight)])  # connections are open
        cpu, wall = time.process_time(), time.perf_counter()
        await asyncio.gather(*[lane() for _ in range(in_flight)])
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"cpu_ms_per_call": 1000 * cpu / calls, "wall_s": wall, "calls_per_s": calls / wall}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--in-flight", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--delay-ms", type=float, default=50.0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = []
    with server(given.delay_ms) as url:
        for name, client in CLIENTS.items():
            for in_flight in given.in_flight:
                calls = given.calls // 4 if name == "plain httpx" else given.calls
                figures = asyncio.run(measure(client, url, calls, in_flight))
                rows.append({"client": name, "in_flight": in_flight, "calls": calls, **figures})
    if given.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'client':<30} {'in flight':>9} {'ms CPU/call':>12} {'calls/s':>8} {'wall s':>7}")
    for row in rows:
        print(
            f"{row['client']:<30} {row['in_flight']:>9} {row['cpu_ms_per_call']:>12.3f} "
            f"{row['calls_per_s']:>8.0f} {row['wall_s']:>7.2f}"
        )


if __name__ == "__main__":
    main()
