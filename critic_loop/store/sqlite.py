"""A store in a SQLite file: one writer thread with group commits, and one reader thread.

Knows event loops, threads and the order of calls. Does not know SQL (`writer`, `reader`, `layout`).

Appends that are queued while a transaction is being committed form the next transaction, whatever their trees.
Nothing here blocks an event loop.
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
from critic_loop.core.listing import TreeInfo, TreePage, TreeQuery
from critic_loop.core.records import Feedback, Record, tree_of
from critic_loop.core.tree import Tree
from critic_loop.store import layout
from critic_loop.store.reader import Reader, TreeInFile
from critic_loop.store.rebuild import late_feedback, require_present
from critic_loop.store.tree_ids import TreeIds, add_all
from critic_loop.store.writer import Job, Writer

T = TypeVar("T")

_MAX_GROUP_JOBS = 4096
_LINGER_S = 0.005
"""How long a job that nobody awaits may be held back, so that it shares the next transaction."""
_MAX_TREES_CACHED = 16_384
"""The ids of so many trees being written are kept in memory; those of others are read from the file first."""
_ALL = ""
"""Stands for the whole file in place of a tree's id."""
_MAX_QUEUED_JOBS = 10_000
"""With more jobs queued, `append` waits until it is written even with `durable=False`."""


@dataclass(slots=True, eq=False)
class _Queued(Job):
    waiter: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None


class SqliteStore:
    """A `Store` in one file.

    Use one object per file and process. Other processes may read the file and add feedback meanwhile.
    """

    def __init__(self, path: str | Path, *, page_bytes: int = layout.PAGE_BYTES) -> None:
        """Name the file; it is opened, created or migrated on first use.

        Args:
            path: a path, or `sqlite:///relative/path`, `sqlite:////absolute/path`.
            page_bytes: page size of a new file, in bytes.
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
        self._ids: OrderedDict[str, TreeIds] = OrderedDict()
        """The ids in trees that are being written, those of queued records included."""
        self._loading_ids: dict[str, int] = {}
        """The number of calls that are reading the ids of a tree: its entry in `_ids` is kept meanwhile."""
        self._loaded_lengths: dict[str, int] = {}
        """The number of records of a tree when it was loaded; removed when the tree is appended to."""
        self._failed: dict[str, StoreError] = {}
        """Trees of which records could not be written: appends to them fail until they are loaded again."""
        self._broken: StoreError | None = None
        """Why the file cannot be written any more."""
        self._opened = False
        self._unreported: dict[str, StoreError] = {}
        """By tree, why an append that nobody awaited failed; removed when a caller gets the error."""
        self._reported: set[str] = set()
        """Trees whose error a caller has got; `_ALL` if it was the error of the whole file."""

    def __repr__(self) -> str:
        return f"SqliteStore({str(self._path)!r})"

    @property
    def where(self) -> str:
        """The store's name in messages, such as `sqlite:///runs.db`."""
        return f"sqlite:///{self._path}"

    # -- writing -------------------------------------------------------------------------------

    async def append(self, tree_id: str, *records: Record, durable: bool = True) -> None:
        """Add records; with `durable`, return when they are on disk.

        Raises:
            StoreError: the tree is unknown, has a head already or is written by another process; a record
                does not continue the tree (then nothing of this append is written, and later appends may
                succeed); or this or an earlier append could not be written. Committed records are safe.
        """
        failed = self._broken or self._failed.get(tree_id)
        if failed is not None:
            self._report(tree_id)
            raise _copy_of(failed)
        if not records:
            if durable:
                await self._written(_Queued(""))
            return
        waits = tree_id not in self._ids or tree_id in self._loading_ids  # behind those that wait for the ids
        if waits and records[0].type != "head":
            await self._load_ids(tree_id)
        job = _Queued(tree_id, records)
        if durable or self._queue.qsize() > _MAX_QUEUED_JOBS:
            await self._written(job)
        else:
            job.awaited = False
            self._put(job)

    async def add_feedback(self, attempt_id: str, feedback: Feedback) -> Feedback:
        """Add feedback on an attempt, also after the run of its tree; return it with its id.

        Works from any process, also while another one writes the tree.

        Raises:
            NoSuchTree, NoSuchAttempt: the tree or the attempt does not exist.
            ConfigError: the feedback has no author.
            StoreError: the file cannot be written.
        """
        tree_id = tree_of(attempt_id)
        added = late_feedback(attempt_id, feedback, secrets.token_hex(4))
        found = await self._read(lambda: self._reader.state(tree_id))
        if found is None:
            raise self._missing(tree_id)
        require_present(added, found.ids)
        await self._written(_Queued(tree_id, (added,), late=True))
        if tree_id in self._ids:
            self._ids[tree_id].feedback.add(added.id)
        return added

    async def aclose(self) -> None:
        """Write queued records and close the file.

        Raises:
            StoreError: records whose append did not wait could not be written, and no caller has got the error.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._reading, self._finish)
        self._reading.shutdown(wait=False)
        if self._unreported and _ALL not in self._reported:
            raise _copy_of(next(iter(self._unreported.values())))

    def _finish(self) -> None:
        self._reader.close()  # before the writer: the last to close copies the WAL into the file
        self._at_exit()
        atexit.unregister(self._at_exit)

    def _at_exit(self) -> None:
        """Write queued records when the process ends without closing the store."""
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
        """Record that a caller gets the error of a tree, or of the whole file: it is not raised again."""
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

    async def _load_ids(self, tree_id: str) -> None:
        """Read the ids of an existing tree before the first append to it, and before one after its outcome.

        The one thread that reads keeps the order of appends: each waits for a read of its own.

        Where another process continued a tree that was loaded here, they are not kept: the writer rejects the
        append.
        """
        with self._lock:
            self._loading_ids[tree_id] = self._loading_ids.get(tree_id, 0) + 1
        found: TreeInFile | None = None
        try:
            found = await self._read(lambda: self._reader.state(tree_id))
        finally:
            with self._lock:
                self._ids_loaded(tree_id, found)

    def _ids_loaded(self, tree_id: str, found: TreeInFile | None) -> None:
        self._loading_ids[tree_id] -= 1
        if not self._loading_ids[tree_id]:
            del self._loading_ids[tree_id]
        if found is not None:
            seen = self._loaded_lengths.setdefault(tree_id, found.length)
            if found.owner == self._token or found.run_length <= seen:
                self._ids.setdefault(tree_id, found.ids)

    def _check(self, job: _Queued) -> None:
        """Check records against the ids of their tree, where these are in memory.

        Raises:
            StoreError: a record does not continue its tree.
        """
        tree_id, starts_tree = job.tree, job.records[0].type == "head"
        ids = self._ids.get(tree_id)
        if ids is None and starts_tree:
            ids = self._ids[tree_id] = TreeIds()
        elif starts_tree:
            ids = None  # the writer rejects a second head
        if ids is not None:
            add_all(ids, tree_id, job.records)
            self._ids.move_to_end(tree_id)
            if job.records[-1].type == "outcome":
                self._forget(tree_id)
            elif len(self._ids) > _MAX_TREES_CACHED:
                self._forget(next(iter(self._ids)))
        job.seen = self._loaded_lengths.pop(tree_id, None)

    def _forget(self, tree_id: str) -> None:
        if tree_id not in self._loading_ids:
            self._ids.pop(tree_id, None)

    def _write(self) -> None:
        """Write groups of jobs until the store is closed: the body of the writer thread."""
        writer: Writer | None = None
        more = True
        while more:
            jobs, more = self._next_group()
            if self._broken is None:
                try:
                    writer = writer or Writer(
                        self._path, self._token, self._failed, page_bytes=self._page_bytes
                    )
                    self._opened = True
                    self._broken = writer.write(jobs)
                except StoreError as error:
                    self._broken = error
                except Exception as error:  # noqa: BLE001  # whatever it is, no caller may wait for ever
                    self._broken = StoreError(f"cannot write {self.where}: {type(error).__name__}: {error}")
            self._resolve(jobs)
        if writer is not None:
            writer.close()

    def _next_group(self) -> tuple[list[_Queued], bool]:
        """Return all queued jobs, at least one, and whether more may follow.

        A job that nobody awaits is held back for up to `_LINGER_S`, to share a transaction with the next
        durable append: a reply is usually followed at once by the next call.
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
            if len(jobs) == _MAX_GROUP_JOBS:
                return jobs, True
            try:
                job = self._next(leave_at)
            except queue.Empty:
                return jobs, True
        return jobs, False

    def _next(self, leave_at: float) -> _Queued | None:
        """Return the next job, waiting until `leave_at` (monotonic seconds; 0 = do not wait).

        Raises:
            queue.Empty: there is none.
        """
        left_s = leave_at - time.monotonic()
        return self._queue.get(timeout=left_s) if left_s > 0 else self._queue.get_nowait()

    def _resolve(self, jobs: list[_Queued]) -> None:
        """Resolve the futures of these jobs, with one call per event loop."""
        waiting: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[None], StoreError | None]]] = {}
        for job in jobs:
            if self._broken is not None and (job.records or not self._opened):
                job.error = self._broken
            if job.waiter is not None:
                loop, future = job.waiter
                waiting.setdefault(loop, []).append((future, job.error))
            if job.error is not None and not job.awaited and job.tree not in self._reported:
                self._unreported[job.tree] = job.error
            if job.error is not None and not job.late:
                with self._lock:
                    self._ids.pop(job.tree, None)
        self._done_count += len(jobs)
        for loop, futures in waiting.items():
            with suppress(RuntimeError):  # the loop was closed: its futures are gone
                loop.call_soon_threadsafe(_set_results, futures)

    # -- reading -------------------------------------------------------------------------------

    async def load(self, tree_id: str) -> Tree:
        """Return a tree, with the bytes of its images and files, and everything this object appended to it.

        Raises:
            StoreError: the tree does not exist, was written by a newer critic_loop, or is damaged.
        """
        tree = await self._read(lambda: self._tree(tree_id))
        if tree is None:
            raise self._missing(tree_id)
        self._failed.pop(tree_id, None)
        self._reported.discard(tree_id)
        self._loaded_lengths[tree_id] = len(tree.log)
        if tree_id in self._ids:
            self._ids[tree_id].feedback.update(tree.feedback, tree.grades)
        return tree

    def _tree(self, tree_id: str) -> Tree | None:
        records = self._reader.records(tree_id)
        return None if records is None else Tree.of(records)

    async def has(self, tree_id: str) -> bool:
        """Return whether the tree exists."""
        return bool(await self._read(lambda: self._reader.has(tree_id)))

    async def trees(self, *, recipe: str | None = None, task: str | None = None) -> AsyncIterator[TreeInfo]:
        """Iterate over the trees, oldest first; where given, only those of a recipe or a task id."""
        after = 0
        while page := await self._read(partial(self._reader.page, after, recipe, task)):
            for _, info in page:
                yield info
            after = page[-1][0]

    async def find(self, query: TreeQuery) -> TreePage:
        """Return a page of the trees that a query finds, newest first.

        Raises:
            NoSuchTree: there is no tree with the id that is given as `before`.
        """
        found = await self._read(partial(self._reader.find, query))
        return found or TreePage(trees=(), total=0, more=False)

    async def _read(self, read: Callable[[], T]) -> T | None:
        """Run `read` in the reader thread, after all queued jobs are written; None if there is no file."""
        if self._closed:
            raise StoreError(f"{self.where} is closed.", hint="Open the store again.")
        if self._writing is None and not self._path.exists():
            return None
        if not self._opened or self._done_count < self._put_count:
            await self._written(_Queued(""))  # raises the reason, if the file cannot be opened
        return await asyncio.get_running_loop().run_in_executor(self._reading, read)

    def _missing(self, tree_id: str) -> NoSuchTree:
        return NoSuchTree(f"{self.where} has no tree {tree_id!r}")


def _set_results(futures: list[tuple[asyncio.Future[None], StoreError | None]]) -> None:
    for future, error in futures:
        if future.done():  # its task was cancelled
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(_copy_of(error))


def _copy_of(error: StoreError) -> StoreError:
    """Return a new error of the same type and text, so that each raise has its own traceback."""
    return type(error)(error.message, hint=error.hint)
