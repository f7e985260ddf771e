"""The cost of storing a call: bytes on disk and CPU.

Trees of four model calls each (draft, critique, revision, critique), whose replies are distinct random
text and whose prompts quote earlier answers and critiques in fences, are written at once through one
store, as a loop writes them: the call durable before it is sent, the reply durable before it is used.

    python benchmarks/store_bytes.py [--trees 250] [--in-flight 64] [--page-bytes 32768] [--profile]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from critic_loop.core.messages import Message, assistant, system, user
from critic_loop.core.records import (
    Ask,
    Attempt,
    Call,
    Choice,
    ContextSpec,
    Feedback,
    Head,
    Outcome,
    Place,
    Record,
    Reply,
    Sampling,
    Subject,
    Task,
    Usage,
    Verdict,
    digest_of,
)
from critic_loop.core.tree import Tree
from critic_loop.store.layout import PAGE_BYTES
from critic_loop.store.sqlite import SqliteStore

SOLVE = "You solve programming tasks. Think step by step, then give the whole program and nothing else. " * 8
JUDGE = "You review programs. Say what is wrong, where, and why it matters; be exact and brief. " * 8
LETTERS = "abcdefghijklmnopqrstuvwxyz    \n"


def noise(rng: random.Random, chars: int) -> str:
    return "".join(rng.choices(LETTERS, k=chars))


def fence(boundary: str, name: str, text: str) -> str:
    return f"<data {boundary} {name}>\n{text}\n</data {boundary}>"


class Run:
    """One tree, written as a refine loop writes it."""

    def __init__(self, store: SqliteStore, number: int, chars: int) -> None:
        self.store, self.chars = store, chars
        self.rng = random.Random(number)
        self.id = f"{self.rng.getrandbits(80):020x}"
        self.boundary = f"{self.rng.getrandbits(64):016x}"
        self.records = 0

    async def record(self, *records: Record, durable: bool = False) -> None:
        self.records += len(records)
        await self.store.append(self.id, *records, durable=durable)

    async def call(self, number: int, subject: str, role: str, request: tuple[Message, ...]) -> Message:
        call_id = f"{self.id}.c{number}"
        now = round(1_790_000_000 + self.rng.random() * 1e6, 3)
        await self.record(
            Call(
                id=call_id,
                place=Place(subject=(subject,), agent=f"{role}/0/{role}/solver"),
                digest=digest_of(subject),
                request=request,
                template=f"{role}/solver@{digest_of(role)}",
                binding="vllm:Qwen3-8B+critic-v3@http://gpu:8000",
                sampling=Sampling(temperature=0.7, max_tokens=2048, seed=self.rng.getrandbits(31)),
                sent_at=now,
            ),
            durable=True,
        )
        message = assistant(noise(self.rng, self.chars), sampled=True)
        await self.record(
            Reply(
                call=call_id,
                status="ok",
                choices=(Choice(message=message),),
                usage=Usage(input_tokens=1234, output_tokens=1024),
                raw_usage={"prompt_tokens": 1234, "completion_tokens": 1024, "total_tokens": 2258},
                model="Qwen/Qwen3-8B",
                request_id=f"chatcmpl-{self.rng.getrandbits(128):032x}",
                ended_at=now + 3.5,
            ),
            durable=True,
        )
        return message

    async def answer(self, number: int, parents: tuple[str, ...], shown: tuple[str, ...], prompt: str) -> str:
        attempt = f"{self.id}.{number}"
        await self.record(
            Ask(
                attempt=attempt,
                parents=parents,
                seed=self.rng.getrandbits(32),
                context=ContextSpec(attempts=parents, feedback=shown, fields=("answer", "verdict", "text")),
            )
        )
        message = await self.call(2 * number - 1, attempt, "actor", (system(SOLVE), user(prompt)))
        await self.record(
            Attempt(
                id=attempt,
                parents=parents,
                messages=(message,),
                answer=message.text,
                calls=(f"{self.id}.c{2 * number - 1}",),
            )
        )
        return message.text

    async def criticise(self, number: int, prompt: str) -> str:
        attempt = f"{self.id}.{number}"
        message = await self.call(2 * number, attempt, "critic", (system(JUDGE), user(prompt)))
        await self.record(
            Feedback(
                id=f"{self.id}.f{number}",
                subject=Subject.of(attempt),
                author="critic/0/solver",
                verdict=Verdict.FAIL,
                score=0.25,
                text=message.text[100:-100],
                calls=(f"{self.id}.c{2 * number}",),
            )
        )
        return message.text[100:-100]

    async def whole(self) -> None:
        task = noise(self.rng, 400)
        head = Head(
            tree=self.id,
            task=Task(prompt=(user(task),)),
            recipe="refine",
            recipe_digest=digest_of("refine"),
            key=f"{self.rng.getrandbits(128):032x}",
            created_at=1_790_000_000.0,
        )
        await self.record(head)
        stated = fence(self.boundary, "task", task)
        draft = await self.answer(1, (), (), f"The task:\n\n{stated}\n\nSolve it.")
        shown = f"{stated}\n\nThe answer:\n\n{fence(self.boundary, 'answer', draft)}"
        critique = await self.criticise(1, f"The task:\n\n{shown}\n\nWhat is wrong with it?")
        shown += f"\n\nWhat a critic says:\n\n{fence(self.boundary, 'feedback', critique)}"
        better = await self.answer(
            2, (f"{self.id}.1",), (f"{self.id}.f1",), f"The task:\n\n{shown}\n\nRevise it."
        )
        shown = f"{stated}\n\nThe answer:\n\n{fence(self.boundary, 'answer', better)}"
        await self.criticise(2, f"The task:\n\n{shown}\n\nWhat is wrong with it?")
        await self.record(Outcome(chosen=f"{self.id}.2", decided_by="critic", stop="max_rounds"), durable=True)


async def write(store: SqliteStore, trees: int, in_flight: int, chars: int) -> int:
    gate = asyncio.Semaphore(in_flight)

    async def one(number: int) -> int:
        async with gate:
            run = Run(store, number, chars)
            await run.whole()
            return run.records

    return sum(await asyncio.gather(*(one(n) for n in range(trees))))


class Nowhere(SqliteStore):
    """A store that discards all records, to measure the benchmark itself."""

    async def append(self, tree_id: str, *records: Record, durable: bool = True) -> None:  # noqa: ARG002
        await asyncio.sleep(0)


def timed(work: Callable[[], Awaitable[int]]) -> tuple[int, float, float]:
    wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    done = asyncio.run(work())  # type: ignore[arg-type]
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done, cpu, time.perf_counter() - wall


def by_table(path: Path) -> list[tuple[str, int, int, int]]:
    """Return name, bytes, bytes used and rows of each table and index."""
    with sqlite3.connect(path) as db:
        query = "SELECT name, sum(pgsize), sum(payload), sum(ncell) FROM dbstat GROUP BY name ORDER BY 2 DESC"
        return list(db.execute(query))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trees", type=int, default=500)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--chars", type=int, default=4096)
    parser.add_argument("--page-bytes", type=int, default=PAGE_BYTES)
    parser.add_argument("--load", action="store_true", help="load every tree again")
    parser.add_argument("--profile", action="store_true", help="profile the writer thread")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        path = Path(folder) / "trees.db"

        async def around() -> int:
            return await write(Nowhere(path), given.trees, given.in_flight, given.chars)

        async def through() -> int:
            store = SqliteStore(path, page_bytes=given.page_bytes)
            done = await write(store, given.trees, given.in_flight, given.chars)
            await store.aclose()
            return done

        async def again() -> int:
            store = SqliteStore(path)
            trees: list[Tree] = [await store.load(info.id) async for info in store.trees()]
            await store.aclose()
            return sum(len(tree.log) for tree in trees)

        _, base_cpu, base_wall = timed(around)
        if given.profile:
            profiled()
        records, cpu, wall = timed(through)
        calls, size = given.trees * 4, path.stat().st_size
        new = calls * given.chars + given.trees * 400
        print(f"{given.trees} trees, {calls} calls, {records} records, {given.in_flight} in flight")
        print(f"bytes a call {size / calls:,.0f}; file / new text {size / new:.3f}")
        around_ms, store_ms = (ms / records * 1e3 for ms in (base_cpu, cpu - base_cpu))
        print(f"CPU a record {store_ms:.3f} ms (the benchmark itself {around_ms:.3f})")
        print(f"wall {wall:.2f} s (the benchmark itself {base_wall:.2f})")
        for name, total, used, rows in by_table(path):
            print(f"  {name:24} {total / calls:8,.0f} bytes a call, {used / total:4.0%} full, {rows:7,} cells")
        if given.load:
            count, cpu, _ = timed(again)
            print(f"loading: CPU a record {cpu / count * 1e3:.3f} ms")


def profiled() -> None:
    import cProfile
    import pstats

    inner = SqliteStore._write

    def outer(self: SqliteStore) -> None:
        profile = cProfile.Profile()
        profile.runcall(inner, self)
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)

    SqliteStore._write = outer  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
