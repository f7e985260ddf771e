"""How close the adaptive window comes to a server's capacity, and how many rejected requests that costs.

    python benchmarks/limits.py [--takes 4 24 96] [--seconds 30] [--delay-ms 400] [--json]

The server runs in another process and answers with status 429 above `--takes` requests in flight; the client
does not know this limit. Throughput is measured in the second half of the run, as a share of `takes / delay`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from contextlib import contextmanager

from critic_loop.core.errors import ModelError
from critic_loop.core.messages import user
from critic_loop.core.protocols import Request
from critic_loop.models import ChatModel, Limited, Retrying


@contextmanager
def server(takes: int, delay_ms: float):
    command = [sys.executable, "-m", "critic_loop.testing.server", "--capacity", str(takes)]
    process = subprocess.Popen([*command, "--delay-ms", str(delay_ms)], stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


async def measure(url: str, takes: int, seconds: float, delay_ms: float) -> dict[str, float]:
    limited = Limited(ChatModel("test", url=url))
    began, answered, failed, sent = time.perf_counter(), [], 0, 0

    class Counting:
        spec, aclose = "counting", limited.aclose

        async def complete(self, request):
            nonlocal sent
            sent += 1
            return await limited.complete(request)

    model = Retrying(Counting())

    async def worker(k: int) -> None:
        nonlocal failed
        n = 0
        while time.perf_counter() - began < seconds:
            n += 1
            try:
                await model.complete(Request(messages=(user(f"{k}/{n}"),)))
                answered.append(time.perf_counter() - began)
            except ModelError:
                failed += 1

    await asyncio.gather(*(worker(k) for k in range(3 * takes + 16)))
    await limited.aclose()
    late = sum(1 for at in answered if seconds / 2 <= at < seconds)
    share = late / (seconds / 2) / (takes / (delay_ms / 1000))
    refused = (sent - len(answered)) / max(1, len(answered))
    return {"share": share, "refused_per_answer": refused, "failed": failed, "limit": limited.window.limit}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--takes", type=int, nargs="+", default=[4, 24, 96])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--delay-ms", type=float, default=400.0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = []
    for takes in given.takes:
        with server(takes, given.delay_ms) as url:
            figures = asyncio.run(measure(url, takes, given.seconds, given.delay_ms))
        rows.append({"takes": takes, **figures})
    if given.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'takes':>6} {'window':>7} {'of what it takes':>17} {'refused/answer':>15} {'failed':>7}")
    for row in rows:
        print(
            f"{row['takes']:>6} {row['limit']:>7.1f} {row['share']:>16.1%} "
            f"{row['refused_per_answer']:>15.3f} {row['failed']:>7}"
        )


if __name__ == "__main__":
    main()
