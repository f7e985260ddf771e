"""The embedded model as a `Model`: one network that drafts, criticises and revises.

Knows how a request becomes a sample and a sample a `Completion`. Does not know the role and the prompt of a
conversation (`chat`), how text is sampled (`runtime`, imported on first use) or whether an answer is right
(`countdown.check`).

It supports the settings temperature, max_tokens, stop and seed; tools, schemas and top_p are ignored. Without a
temperature, answers are sampled at `DEFAULT_TEMPERATURE` and critiques at 0.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING

from critic_loop.core.errors import ConfigError, DeadlineExceeded, ModelError, boundary
from critic_loop.core.messages import assistant
from critic_loop.core.protocols import Completion, Request
from critic_loop.core.records import Choice, Usage
from critic_loop.demo.chars import CORRECT_ANSWER, CRITIQUE, WRONG_ANSWER, encode
from critic_loop.demo.chat import chat_prompt
from critic_loop.demo.seeds import seed_of

if TYPE_CHECKING:
    from critic_loop.demo.runtime import Runtime, Sample

DEFAULT_TEMPERATURE = 0.8
DEFAULT_MAX_TOKENS = 96
_NEEDED = ("numpy", "onnxruntime")


def embedded(name: str) -> EmbeddedModel:
    """Returns the model of the spec `embedded:NAME`.

    Raises:
        ConfigError: the name is unknown, or the runtime is not installed.
    """
    if name != "countdown":
        raise ConfigError(f"unknown embedded model {name!r}.", hint="Write embedded:countdown.")
    return EmbeddedModel()


class EmbeddedModel:
    """The Countdown model of the package; needs no key, no server and no GPU.

    Calls from all event loops share batches. The same request with the same seed gives the same text, whatever
    other requests there are.
    """

    def __init__(self) -> None:
        """Checks that the runtime is installed; the weights are loaded at the first call.

        Raises:
            ConfigError: onnxruntime or numpy is missing.
        """
        missing = [name for name in _NEEDED if find_spec(name) is None]
        if missing:
            raise ConfigError(
                f"embedded:countdown needs {' and '.join(missing)}, not installed here.",
                hint="Run: pip install 'critic-loop[demo]'",
            )
        self._lock = threading.Lock()
        self._runtime: Runtime | None = None

    @property
    def spec(self) -> str:
        """The spec string."""
        return "embedded:countdown"

    async def complete(self, request: Request) -> Completion:
        """Samples `request.choices` answers, critiques or revisions, or scores the texts of `request.score`.

        Raises:
            ModelError: no user message has a puzzle, a text cannot be scored, or the runtime failed.
            DeadlineExceeded: the call took longer than `request.timeout_s`.
        """
        prompt = chat_prompt(request.messages, continues=request.continues)
        with boundary(ModelError, "running the embedded model"):
            try:
                async with asyncio.timeout(request.timeout_s):
                    return await self._complete(request, prompt)
            except TimeoutError:
                raise DeadlineExceeded(
                    f"embedded:countdown took longer than {request.timeout_s} s.",
                    hint="Set a longer timeout_s, or make fewer concurrent calls.",
                ) from None

    async def aclose(self) -> None:
        """Ends the worker thread and frees the weights; a later call loads them again."""
        with self._lock:
            runtime, self._runtime = self._runtime, None
        if runtime is not None:
            await asyncio.to_thread(runtime.close)

    def _open(self) -> Runtime:
        from critic_loop.demo.runtime import Runtime

        with self._lock:
            if self._runtime is None:
                self._runtime = Runtime()
            return self._runtime

    async def _complete(self, request: Request, prompt: str) -> Completion:
        runtime = self._runtime or await asyncio.to_thread(self._open)
        samples = await (_scored if request.score else _sampled)(runtime, request, prompt)
        prompt_ids = tuple(encode(prompt))
        tokens = sum(len(sample.token_ids) for sample in samples)
        read, written = (tokens, 0) if request.score else (0, tokens)
        return Completion(
            choices=tuple(_choice(sample, scored=bool(request.score)) for sample in samples),
            usage=Usage(input_tokens=len(prompt_ids) + read, output_tokens=written),
            model="countdown",
            weight_version=f"sha256:{runtime.weights_sha256[:16]}",
            prompt_token_ids=prompt_ids,
        )


async def _sampled(runtime: Runtime, request: Request, prompt: str) -> list[Sample]:
    sampling = request.sampling
    seed = secrets.randbits(64) if sampling.seed is None else sampling.seed
    usual = 0.0 if prompt.startswith(CRITIQUE) else DEFAULT_TEMPERATURE
    temperature = usual if sampling.temperature is None else sampling.temperature
    calls = (
        runtime.sample(
            prompt,
            temperature=temperature,
            seed=seed_of("choice", seed, index),
            max_tokens=sampling.max_tokens or DEFAULT_MAX_TOKENS,
            stop=sampling.stop,
        )
        for index in range(request.choices)
    )
    samples = await asyncio.gather(*calls)
    if request.on_text is not None:
        for sample in samples:
            request.on_text(sample.text)
    return samples


async def _scored(runtime: Runtime, request: Request, prompt: str) -> list[Sample]:
    try:
        return await asyncio.gather(*(runtime.score(prompt, text) for text in request.score))
    except ValueError as error:
        raise ModelError(
            f"embedded:countdown cannot score this text: {error}.",
            hint=f"It can score short texts of its tokens, such as {CORRECT_ANSWER!r} and {WRONG_ANSWER!r}.",
        ) from None


def _choice(sample: Sample, *, scored: bool) -> Choice:
    return Choice(
        message=assistant(sample.text, sampled=not scored),
        finish_reason="scored" if scored else sample.finish_reason,
        token_ids=sample.token_ids,
        logprobs=sample.logprobs,
        stopped_by=sample.stopped_by,
    )
