"""Asynchronous sampling from the small model; concurrent requests share batches.

Knows threads, event loops and token ids. Does not know puzzles, chat messages
(`model`) or what happens inside a batch (`engine`).

One worker thread owns the engine. Requests from any thread or event loop are queued, join the batch between two
decode steps, and are resolved when they end, so no event loop is blocked by computation.

The same (prompt, temperature, seed, max_tokens, stop) gives the same text on the same machine, whatever other
requests share its batches. This was checked for equal texts and log-probabilities on an x86-64 machine with
AVX-512. Another processor or release of ONNX Runtime may round differently, and so sometimes choose another
token.
"""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeAlias

from critic_loop.demo.chars import END_ID, decode, encode
from critic_loop.demo.engine import Engine, Row

FinishReason: TypeAlias = Literal["stop", "length"]

_CLOSED = "this runtime is closed"
_PREFILL_AT_ONCE = 64
"""The largest number of rows that join between two steps, so that prefills do not delay live rows for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One text that the model wrote."""

    text: str
    """Without the end token, and cut before the first stop string."""
    token_ids: tuple[int, ...]
    """All drawn tokens, including the end token."""
    logprobs: tuple[float, ...]
    """The log-probability of each token, at temperature 1."""
    finish_reason: FinishReason
    prompt_tokens: int
    stopped_by: str = ""
    """The stop string before which the text ends."""


@dataclass(slots=True, eq=False)
class _Request:
    row: Row
    stop: Sequence[str]
    future: Future[Sample] = field(default_factory=Future[Sample])

    def cut(self) -> tuple[str, str]:
        """The text so far, cut before the first stop string, and that string."""
        text = decode(self.row.token_ids)
        found = [(at, stop) for stop in self.stop if stop and (at := text.find(stop)) >= 0]
        at, stop = min(found, default=(len(text), ""))
        return text[:at], stop

    def stopped(self) -> bool:
        """Whether a stop string was written."""
        return bool(self.stop) and bool(self.cut()[1])

    def answer(self) -> None:
        """Hands the sample to whoever waits, if anybody still does."""
        row, (text, stop) = self.row, self.cut()
        sample = Sample(
            text=text,
            token_ids=tuple(row.token_ids),
            logprobs=tuple(row.logprobs),
            finish_reason="stop" if row.ended or stop else "length",
            stopped_by=stop,
            prompt_tokens=len(row.prompt_ids),
        )
        with suppress(InvalidStateError):  # cancelled a moment ago
            self.future.set_result(sample)

    def fail(self, error: Exception) -> None:
        """Hands an error to whoever waits."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)


def _tokens(text: str) -> list[int]:
    try:
        return encode(text)
    except KeyError as error:
        raise ValueError(f"the model has no token for {error.args[0]!r}") from None


def _bundled() -> bytes:
    return (files("critic_loop.demo") / "weights" / "countdown.onnx").read_bytes()


class Runtime:
    """A loaded model and its worker thread; close it when done, or use it in `with`."""

    def __init__(self, weights: Path | None = None, *, slots: int = 128, threads: int = 1) -> None:
        """Loads the weights (those of the package unless given) and starts the thread.

        Args:
            weights: an ONNX file written by `onnx_graph`.
            slots: the largest number of sequences in a batch; further requests are queued.
            threads: intra-op threads of ONNX Runtime, at most 2.
        """
        data = _bundled() if weights is None else weights.read_bytes()
        self.weights_sha256 = hashlib.sha256(data).hexdigest()
        self._engine = Engine(data, slots=slots, threads=min(threads, 2))
        self._queue: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._lock, self._closed = threading.Lock(), False
        self._thread = threading.Thread(target=self._work, name="critic-loop-demo", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    @property
    def context(self) -> int:
        """The largest number of tokens, prompt and answer together."""
        return self._engine.context

    async def sample(
        self,
        prompt: str,
        *,
        temperature: float = 0.0,
        seed: int = 0,
        max_tokens: int = 96,
        stop: Sequence[str] = (),
    ) -> Sample:
        """Samples one continuation of a prompt; cancelling the call frees its slot.

        Args:
            prompt: the prompt; every character must have a token.
            temperature: at 0, each token is the most probable one.
            seed: the seed of this request.
            max_tokens: the largest number of tokens; reduced to the rest of the context.
            stop: strings before which the text ends.

        Raises:
            ValueError: the prompt is empty, too long, or has a character without a token.
            RuntimeError: the runtime is closed.
        """
        return await self._answer(_Request(self._row(prompt, temperature, seed, max_tokens), tuple(stop)))

    async def score(self, prompt: str, text: str) -> Sample:
        """Returns `text` as a sample, with the log-probabilities as if the model had written it.

        Raises:
            ValueError: prompt or text is empty or has a character without a token, or they are too long
            together. RuntimeError: the runtime is closed.
        """
        given = _tokens(text)
        if not given:
            raise ValueError("the text is empty")
        row = self._row(prompt, 0.0, 0, max_tokens=len(given), given=given)
        if row.max_tokens < len(given):
            room = self.context - len(row.prompt_ids)
            raise ValueError(f"the text has {len(given)} tokens, but only {room} fit after this prompt")
        return await self._answer(_Request(row, ()))

    async def _answer(self, request: _Request) -> Sample:
        with self._lock:
            if self._closed:
                raise RuntimeError(_CLOSED)
            self._queue.put(request)
        return await asyncio.wrap_future(request.future)

    def close(self) -> None:
        """Ends the worker thread; pending calls raise RuntimeError. May be called more than once."""
        with self._lock:
            already, self._closed = self._closed, True
        if not already:
            atexit.unregister(self.close)
            self._queue.put(None)
        self._thread.join()

    def __enter__(self) -> Self:
        """Returns the runtime itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the runtime."""
        self.close()

    def _row(
        self, prompt: str, temperature: float, seed: int, max_tokens: int, given: Sequence[int] = ()
    ) -> Row:
        prompt_ids = _tokens(prompt)
        if not 0 < len(prompt_ids) < self.context:
            raise ValueError(f"the prompt has {len(prompt_ids)} tokens; it must have 1 to {self.context - 1}")
        if max_tokens < 1 or temperature < 0:
            raise ValueError("max_tokens must be at least 1 and temperature at least 0")
        return Row(
            prompt_ids=prompt_ids,
            temperature=temperature,
            seed=seed % 2**64,
            max_tokens=min(max_tokens, self.context - len(prompt_ids)),
            end_id=END_ID,
            given=given,
        )

    def _work(self) -> None:
        """Runs the engine until the end marker is received; resolves the futures of all requests."""
        waiting, live = list[_Request](), list[_Request]()
        try:
            while self._receive(waiting, idle=not (waiting or live)):
                self._advance(waiting, live)
        except Exception as error:  # noqa: BLE001  # passed on to every caller
            self._fail([*waiting, *live], error)
        else:
            self._fail([*waiting, *live], RuntimeError(_CLOSED))

    def _receive(self, waiting: list[_Request], *, idle: bool) -> bool:
        """Moves queued requests to `waiting`, and blocks for one if idle; returns False at the end marker."""
        try:
            request = self._queue.get(block=idle)
            while request is not None:
                waiting.append(request)
                request = self._queue.get_nowait()
        except queue.Empty:
            return True
        return False

    def _advance(self, waiting: list[_Request], live: list[_Request]) -> None:
        """Adds waiting requests to the batch, draws a token for all, and resolves those that end."""
        waiting[:] = [request for request in waiting if not request.future.cancelled()]
        joining = waiting[: min(self._engine.free, _PREFILL_AT_ONCE)]
        del waiting[: len(joining)]
        live.extend(joining)  # before they join: if that fails, their futures fail, too
        self._engine.join([request.row for request in joining])
        self._settle(live)
        self._engine.step()
        self._settle(live)

    def _settle(self, live: list[_Request]) -> None:
        gone = [r for r in live if r.row.done or r.future.cancelled() or r.stopped()]
        if gone:
            self._engine.leave([request.row for request in gone])
            live[:] = [request for request in live if request not in gone]
        for request in gone:
            request.answer()

    def _fail(self, requests: Sequence[_Request], error: Exception) -> None:
        """Fails all requests, also those queued meanwhile, and closes the runtime."""
        with self._lock:
            self._closed = True
        late = list[_Request]()
        while not self._queue.empty():
            request = self._queue.get()
            late.extend([request] if request is not None else [])
        for request in (*requests, *late):
            request.fail(error)
