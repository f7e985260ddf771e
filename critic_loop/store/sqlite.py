"""Trees in a SQLite file: one writer thread, group commit across trees, reads beside it.

Knows event loops, threads and the order of calls. Does not know SQL (`writer`, `reader`, `layout`).

What is queued while one transaction is on its way to the disk goes into the next one together, so a
commit is shared by all trees that wait. Nothing here blocks an event loop.
"""

from __future__ import annotations

import asyncio
import atexit
import queue
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from critic_loop.core.errors import NoSuchTree, StoreError
from critic_loop.core.protocols import TreeInfo
from critic_loop.core.records import Feedback, Record, tree_of
from critic_loop.core.tree import Tree
from critic_loop.store import layout
from critic_loop.store.known import Known, go_on
from critic_loop.store.reader import Begun, Reader
from critic_loop.store.rebuild import late_feedback, require_known
from critic_loop.store.writer import Job, Writer

T = TypeVar("T")

_GROUP = 4096
"""Jobs in one transaction at most."""
_LINGER_S = 0.005
"""How long what nobody waits for stays off the disk, at most."""
_TREES_AT_HAND = 16_384
"""Of so many trees being written it is known what they have; of others, it is read first."""
_ALL = ""
"""In place of a tree's id: the whole file."""
_BACKLOG = 10_000
"""With more jobs queued, appends wait even if they need not be durable."""


@dataclass(slots=True, eq=False)
class _Queued(Job):
    waiter: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None


class SqliteStore:
    """A `Store` in one file. One object for a file and process; others may read it and add feedback."""

    def __init__(self, path: str | Path, *, page_bytes: int = layout.PAGE_BYTES) -> None:
        """Name the file; it is opened, created or migrated on first use.

        Args:
            path: a path, or `sqlite:///relative/path`, `sqlite:////absolute/path`.
            page_bytes: size of a page of a new file.
        """
        self._token = secrets.token_hex(4)
        self._path = Path(str(path).removeprefix("sqlite:///")).expanduser()
        self._page_bytes = page_bytes
        self._reader = Reader(self._path)
        self._reading = ThreadPoolExecutor(1, "critic-loop-read")
        self._queue: queue.SimpleQueue[_Queued | None] = queue.SimpleQueue()
        self._writing: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._put_count = self._done_count = 0
        self._known: OrderedDict[str, Known] = OrderedDict()
        """What is in the trees that are being written, queued records counted in."""
        self._learning: dict[str, int] = {}
        """How many are reading the ids of a tree: what is known of it is not dropped meanwhile."""
        self._seen: dict[str, int] = {}
        """How many records of a tree were loaded, until it is appended to."""
        self._failed: dict[str, StoreError] = {}
        """Trees that take no more records until they are loaded again: some were not written."""
        self._broken: StoreError | None = None
        """Why nothing can be written any more."""
        self._opened = False
        self._unreported: dict[str, StoreError] = {}
        """By tree, why an append that nobody waited for failed; until a caller gets the error."""
        self._reported: set[str] = set()
        """Trees whose error a caller has got; `_ALL` where it was that of the whole file."""

    def __repr__(self) -> str:
        return f"SqliteStore({str(self._path)!r})"

    @property
    def where(self) -> str:
        """A person's name for the place."""
        return f"sqlite:///{self._path}"

    # -- writing -------------------------------------------------------------------------------

    async def append(self, tree_id: str, *records: Record, durable: bool = True) -> None:
        """Add records; with `durable`, return when they are on disk.

        Raises:
            StoreError: the tree is unknown, has a head already or is written by another process; a record
                does not go on with it (then nothing of this append is written, and the tree takes others);
                or the disk refused this or an earlier append. Then what was committed is safe.
        """
        failed = self._broken or self._failed.get(tree_id)
        if failed is not None:
            self._report(tree_id)
            raise _again(failed)
        if not records:
            if durable:
                await self._written(_Queued(""))
            return
        if tree_id not in self._known and records[0].type != "head":
            await self._learn(tree_id)
        job = _Queued(tree_id, records)
        if durable or self._queue.qsize() > _BACKLOG:
            await self._written(job)
        else:
            job.waited = False
            self._put(job)

    async def add_feedback(self, attempt_id: str, feedback: Feedback) -> Feedback:
        """Add what somebody says of an attempt later on; return it with its id.

        Works from any process, also while another one writes the tree.

        Raises:
            NoSuchTree, NoSuchAttempt: there is none of this id.
            StoreError: the disk refuses.
        """
        tree_id = tree_of(attempt_id)
        added = late_feedback(attempt_id, feedback, secrets.token_hex(4))
        begun = await self._read(lambda: self._reader.known(tree_id))
        if begun is None:
            raise self._missing(tree_id)
        require_known(added, begun.known)
        await self._written(_Queued(tree_id, (added,), late=True))
        if tree_id in self._known:
            self._known[tree_id].said.add(added.id)
        return added

    async def aclose(self) -> None:
        """Write what is pending and release the file.

        Raises:
            StoreError: records that nobody waited for could not be written, and no caller has got the error.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._reading, self._finish)
        self._reading.shutdown(wait=False)
        if self._unreported and _ALL not in self._reported:
            raise _again(next(iter(self._unreported.values())))

    def _finish(self) -> None:
        self._reader.close()  # before the writer: the last to close folds the log into the file
        self._at_exit()
        atexit.unregister(self._at_exit)

    def _at_exit(self) -> None:
        """Write what is pending when the process ends without closing the store."""
        if self._writing is not None:
            self._queue.put(None)
            self._writing.join()

    async def _written(self, job: _Queued) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        job.waiter = (loop, future)
        self._put(job)
        try:
            await future
        except StoreError:
            self._report(job.tree)
            raise

    def _report(self, tree_id: str) -> None:
        """Take note that a caller gets the error of a tree, or of the whole file: it is not raised again."""
        self._reported.add(tree_id if self._broken is None else _ALL)
        self._unreported.pop(tree_id, None)

    def _put(self, job: _Queued) -> None:
        with self._lock:
            if self._closed:
                raise StoreError(f"{self.where} is closed.", hint="Open the store again.")
            if job.records and not job.late:
                self._check(job)
            if self._writing is None:
                self._writing = threading.Thread(target=self._write, name="critic-loop-write", daemon=True)
                self._writing.start()
                atexit.register(self._at_exit)
            self._put_count += 1
            self._queue.put(job)

    async def _learn(self, tree_id: str) -> None:
        """Read what an existing tree has that is appended to for the first time, or again after its outcome.

        Where another process went on with a tree that was loaded here before, nothing is known: the writer
        refuses what is appended.
        """
        with self._lock:
            self._learning[tree_id] = self._learning.get(tree_id, 0) + 1
        begun: Begun | None = None
        try:
            begun = await self._read(lambda: self._reader.known(tree_id))
        finally:
            with self._lock:
                self._learned(tree_id, begun)

    def _learned(self, tree_id: str, begun: Begun | None) -> None:
        self._learning[tree_id] -= 1
        if not self._learning[tree_id]:
            del self._learning[tree_id]
        if begun is not None:
            seen = self._seen.setdefault(tree_id, begun.length)
            if begun.owner == self._token or begun.grown <= seen:
                self._known.setdefault(tree_id, begun.known)

    def _check(self, job: _Queued) -> None:
        """Refuse records that do not go on with their tree, as far as it is known.

        Raises:
            StoreError: they do not.
        """
        tree_id, begins = job.tree, job.records[0].type == "head"
        known = self._known.get(tree_id)
        if known is None and begins:
            known = self._known[tree_id] = Known()
        elif begins:
            known = None  # the writer refuses a second head
        if known is not None:
            go_on(known, tree_id, job.records)
            self._known.move_to_end(tree_id)
            if job.records[-1].type == "outcome":
                self._forget(tree_id)
            elif len(self._known) > _TREES_AT_HAND:
                self._forget(next(iter(self._known)))
        job.seen = self._seen.pop(tree_id, None)

    def _forget(self, tree_id: str) -> None:
        if tree_id not in self._learning:
            self._known.pop(tree_id, None)

    def _write(self) -> None:
        """Write group after group until told to end: the body of the writer thread."""
        writer: Writer | None = None
        going = True
        while going:
            jobs, going = self._take()
            if self._broken is None:
                try:
                    writer = writer or Writer(
                        self._path, self._token, self._failed, page_bytes=self._page_bytes
                    )
                    self._opened = True
                    self._broken = writer.write(jobs)
                except StoreError as error:
                    self._broken = error
                except Exception as error:  # noqa: BLE001  # whatever it is, nobody may wait for ever
                    self._broken = StoreError(f"cannot write {self.where}: {type(error).__name__}: {error}")
            self._settle(jobs)
        if writer is not None:
            writer.close()

    def _take(self) -> tuple[list[_Queued], bool]:
        """Return everything queued, at least one job, and whether to go on after it.

        What nobody waits for stays a moment, so that the next durable append takes it along: a reply is
        mostly followed at once by the next call, and two transactions become one.
        """
        jobs: list[_Queued] = []
        job = self._queue.get()
        leave_at: float | None = None
        while job is not None:
            jobs.append(job)
            if job.waiter is not None:
                leave_at = 0.0
            elif leave_at is None:
                leave_at = time.monotonic() + _LINGER_S
            if len(jobs) == _GROUP:
                return jobs, True
            try:
                job = self._next(leave_at)
            except queue.Empty:
                return jobs, True
        return jobs, False

    def _next(self, leave_at: float) -> _Queued | None:
        """Return the next job if one comes before `leave_at` (0 = if one is there)."""
        left_s = leave_at - time.monotonic()
        return self._queue.get(timeout=left_s) if left_s > 0 else self._queue.get_nowait()

    def _settle(self, jobs: list[_Queued]) -> None:
        """Wake all who wait for these jobs: one call for each event loop."""
        waiting: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[None], StoreError | None]]] = {}
        for job in jobs:
            if self._broken is not None and (job.records or not self._opened):
                job.error = self._broken
            if job.waiter is not None:
                loop, future = job.waiter
                waiting.setdefault(loop, []).append((future, job.error))
            if job.error is not None and not job.waited and job.tree not in self._reported:
                self._unreported[job.tree] = job.error
            if job.error is not None and not job.late:
                with self._lock:
                    self._known.pop(job.tree, None)
        self._done_count += len(jobs)
        for loop, futures in waiting.items():
            with suppress(RuntimeError):  # the loop was closed: nobody waits any more
                loop.call_soon_threadsafe(_wake, futures)

    # -- reading -------------------------------------------------------------------------------

    async def load(self, tree_id: str) -> Tree:
        """Return a tree, with the bytes of its images and files, and all that was appended here.

        Raises:
            StoreError: there is none of this id, it was written by a newer version, or it is damaged.
        """
        tree = await self._read(lambda: self._tree(tree_id))
        if tree is None:
            raise self._missing(tree_id)
        self._failed.pop(tree_id, None)
        self._reported.discard(tree_id)
        self._seen[tree_id] = len(tree.log)
        if tree_id in self._known:
            self._known[tree_id].said.update(tree.feedback, tree.grades)
        return tree

    def _tree(self, tree_id: str) -> Tree | None:
        records = self._reader.records(tree_id)
        return None if records is None else Tree.of(records)

    async def has(self, tree_id: str) -> bool:
        """Return whether there is such a tree."""
        return bool(await self._read(lambda: self._reader.has(tree_id)))

    async def trees(self, *, recipe: str | None = None, task: str | None = None) -> AsyncIterator[TreeInfo]:
        """Iterate over the trees, oldest first."""
        after = 0
        while page := await self._read(partial(self._reader.page, after, recipe, task)):
            for _, info in page:
                yield info
            after = page[-1][0]

    async def _read(self, read: Callable[[], T]) -> T | None:
        """Run `read` in the reading thread, after all that was queued here; None if there is no file."""
        if self._closed:
            raise StoreError(f"{self.where} is closed.", hint="Open the store again.")
        if self._writing is None and not self._path.exists():
            return None
        if not self._opened or self._done_count < self._put_count:
            await self._written(_Queued(""))  # says why, if the file cannot be opened
        return await asyncio.get_running_loop().run_in_executor(self._reading, read)

    def _missing(self, tree_id: str) -> NoSuchTree:
        return NoSuchTree(f"{self.where} has no tree {tree_id!r}")


def _wake(futures: list[tuple[asyncio.Future[None], StoreError | None]]) -> None:
    for future, error in futures:
        if future.done():  # its task was cancelled
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(_again(error))


def _again(error: StoreError) -> StoreError:
    """Return a new error of the same kind and text, so that each raise has a traceback of its own."""
    return type(error)(error.message, hint=error.hint)
