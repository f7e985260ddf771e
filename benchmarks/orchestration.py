"""The cost of orchestration: 500 tasks of four sequential calls each, 64 tasks in flight.

Each task is draft, critique, revision, critique. Compared in the same run: a bare aiohttp loop (the lower
bound), DSPy's `Parallel` (which records nothing), and Critic Loop with its graph and a durable SQLite store.
The server runs in another process and replies after a fixed time.

    python benchmarks/orchestration.py [--dspy-python PYTHON] [--delay-ms 50] [--json]

CPU is `process_time` of the client process, without imports and set-up. Compare ratios, as machines are
noisy. If the given Python has no DSPy, it is skipped with a message.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CALLS = 4
SYSTEMS = ("aiohttp", "dspy", "critic_loop", "critic_loop memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=500)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--delay-ms", type=int, action="append")
    parser.add_argument("--reply-bytes", type=int, default=4096)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--system", action="append", choices=SYSTEMS)
    parser.add_argument("--dspy-python", default=sys.executable, help="a Python that has dspy")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", choices=(*SYSTEMS, "server"), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child == "server":
        serve(options)
    if options.child:
        print(json.dumps(CHILDREN[options.child](options)))
        return
    rows = [row for delay in options.delay_ms or [50, 500] for row in measure(options, delay)]
    print(json.dumps(rows) if options.json else table(rows))


def measure(options: argparse.Namespace, delay_ms: int) -> list[dict[str, Any]]:
    server = subprocess.Popen(
        [sys.executable, __file__, "--child", "server", "--delay-ms", str(delay_ms),
         "--reply-bytes", str(options.reply_bytes)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    url = server.stdout.readline().split()[-1]
    results: dict[str, list[dict[str, float]]] = {name: [] for name in options.system or SYSTEMS}
    try:
        for _ in range(options.repeat):
            for name, found in results.items():
                row = child(options, name, url)
                if row is not None:
                    found.append(row)
    finally:
        server.terminate()
        server.wait()
    ideal_s = math.ceil(options.tasks / options.in_flight) * CALLS * delay_ms / 1e3
    return [summary(name, found, delay_ms, ideal_s) for name, found in results.items() if found]


def child(options: argparse.Namespace, name: str, url: str) -> dict[str, float] | None:
    python = options.dspy_python if name == "dspy" else sys.executable
    command = [python, __file__, "--child", name, "--url", url, "--tasks", str(options.tasks),
               "--in-flight", str(options.in_flight)]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OPENAI_API_KEY": "x"}
    )
    if done.returncode:
        print(f"{name}: not measured ({done.stderr.strip().splitlines()[-1:]})", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def summary(name: str, found: list[dict[str, float]], delay_ms: int, ideal_s: float) -> dict[str, Any]:
    middle = {key: statistics.median(row[key] for row in found) for key in found[0]}
    return {"system": name, "delay_ms": delay_ms, **middle, "wall_over_ideal": middle["wall_s"] / ideal_s}


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        (
            f"{'system':<20}{'reply ms':>9}{'CPU ms/call':>13}{'vs dspy':>9}{'wall s':>8}{'/ ideal':>9}"
            f"{'stored / new text':>19}"
        )
    ]
    for row in rows:
        peer = [r for r in rows if r["system"] == "dspy" and r["delay_ms"] == row["delay_ms"]]
        ratio = f"{row['cpu_ms_per_call'] / peer[0]['cpu_ms_per_call']:.2f}" if peer else "-"
        stored = f"{row['stored_ratio']:.2f}" if row.get("stored_ratio") else "-"
        lines.append(
            f"{row['system']:<20}{row['delay_ms']:>9}{row['cpu_ms_per_call']:>13.2f}{ratio:>9}"
            f"{row['wall_s']:>8.2f}{row['wall_over_ideal']:>9.3f}{stored:>19}"
        )
    return "\n".join(lines)


def timed(work: Any, tasks: int) -> dict[str, float]:
    """Time `work(tasks)` after a warm-up of two tasks, which does the lazy imports of every system."""
    work(2)
    wall, cpu = time.perf_counter(), time.process_time()
    work(tasks)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"cpu_ms_per_call": cpu * 1e3 / (tasks * CALLS), "wall_s": wall, "calls": tasks * CALLS}


def serve(options: argparse.Namespace) -> None:
    """Reply after a fixed time with fresh random text, in the shape that DSPy's adapter reads."""
    from critic_loop.testing.server import TestServer

    def reply(*_: Any) -> str:
        text = base64.b64encode(os.urandom(options.reply_bytes * 3 // 4)).decode()
        return f"[[ ## answer ## ]]\n{text}\n\n[[ ## completed ## ]]"

    async def go() -> None:
        async with TestServer(reply, delay_s=options.delay_ms[0] / 1e3) as server:
            print(server.url, flush=True)
            await asyncio.Event().wait()

    asyncio.run(go())


def run_aiohttp(options: argparse.Namespace) -> dict[str, float]:
    import aiohttp
    import orjson

    async def go(tasks: int) -> None:
        gate = asyncio.Semaphore(options.in_flight)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def call(messages: list[dict[str, str]]) -> str:
                body = orjson.dumps({"model": "m", "messages": messages})
                headers = {"content-type": "application/json"}
                async with session.post(f"{options.url}/chat/completions", data=body, headers=headers) as reply:
                    return orjson.loads(await reply.read())["choices"][0]["message"]["content"]

            async def task(number: int) -> None:
                async with gate:
                    prompt = {"role": "user", "content": f"task {number}"}
                    draft = await call([prompt])
                    critique = await call([{"role": "user", "content": f"review {draft}"}])
                    revised = await call(
                        [prompt, {"role": "assistant", "content": draft}, {"role": "user", "content": critique}]
                    )
                    await call([{"role": "user", "content": f"review {revised}"}])

            await asyncio.gather(*(task(n) for n in range(tasks)))

    return timed(lambda tasks: asyncio.run(go(tasks)), options.tasks)


def run_dspy(options: argparse.Namespace) -> dict[str, float]:
    import dspy

    lm = dspy.LM("openai/m", api_base=options.url, api_key="x", cache=False, num_retries=0)
    dspy.configure(lm=lm)

    class Refine(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.draft = dspy.Predict("task -> answer")
            self.review = dspy.Predict("task, draft -> answer")
            self.revise = dspy.Predict("task, draft, critique -> answer")

        def forward(self, task: str) -> str:
            draft = self.draft(task=task).answer
            critique = self.review(task=task, draft=draft).answer
            revised = self.revise(task=task, draft=draft, critique=critique).answer
            return self.review(task=task, draft=revised).answer

    program = Refine()
    parallel = dspy.Parallel(num_threads=options.in_flight, disable_progress_bar=True)

    def work(tasks: int) -> None:
        parallel([(program, dspy.Example(task=f"task {n}").with_inputs("task")) for n in range(tasks)])

    return timed(work, options.tasks)


def run_critic_loop(options: argparse.Namespace, *, durable: bool) -> dict[str, float]:
    import critic_loop as cl

    async def go(tasks: int, path: str | None) -> int:
        spec, text_bytes = f"chat:m@{options.url}", 0
        loop = cl.Loop("refine", actor=spec, critic=spec, verifiers=[], stop=cl.MaxRounds(2), store=path)
        async with loop:
            async for result in loop.map((f"task {n}" for n in range(tasks)), in_flight=options.in_flight):
                replies = result.tree.replies.values()
                assert len(replies) == CALLS, result.stop_text
                text_bytes += sum(len(r.choices[0].message.text.encode()) for r in replies)
        return text_bytes

    if not durable:
        return timed(lambda tasks: asyncio.run(go(tasks, None)), options.tasks)
    with tempfile.TemporaryDirectory() as folder:
        sizes: dict[int, float] = {}

        def work(tasks: int) -> None:
            path = Path(folder) / f"{tasks}.db"
            new_text = asyncio.run(go(tasks, str(path)))
            sizes[tasks] = path.stat().st_size / new_text

        row = timed(work, options.tasks)
        return {**row, "stored_ratio": sizes[options.tasks]}


CHILDREN = {
    "aiohttp": run_aiohttp,
    "dspy": run_dspy,
    "critic_loop": lambda options: run_critic_loop(options, durable=True),
    "critic_loop memory": lambda options: run_critic_loop(options, durable=False),
}

if __name__ == "__main__":
    main()
