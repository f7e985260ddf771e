"""Contract tests of models, to run over your own model.

    class TestMyModel(ModelContract):
        @pytest.fixture
        async def model(self):
            async with serve() as url:
                model = MyModel(url)
                yield model
                await model.aclose()

Knows the `Model` protocol. Does not know any model. Needs pytest with anyio's plugin.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import pytest

from critic_loop.core.errors import ModelError
from critic_loop.core.messages import user
from critic_loop.core.protocols import Completion, Model, Request, scored_choices
from critic_loop.core.records import Sampling

T = TypeVar("T")


@pytest.mark.anyio
class ModelContract:
    """Override `model`; also `broken` and `secret`, where the model has them."""

    prompt = "Say something."
    """The prompt of every test; override it for a model that answers only certain prompts."""
    texts = ("Yes", "No it is not")
    """The texts that are scored; override them for a model with a small vocabulary."""

    def request(self, text: str = "", *, choices: int = 1) -> Request:
        """Return a request for `text`, or for the prompt."""
        return Request(messages=(user(text or self.prompt),), choices=choices)

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Run under asyncio."""
        return "asyncio"

    @pytest.fixture
    def model(self) -> Model:
        """Return the model, which must answer `prompt`."""
        raise NotImplementedError("override the fixture `model`")

    @pytest.fixture
    def broken(self) -> Model | None:
        """Return a model of the same kind whose calls fail; None skips the test."""
        return None

    @pytest.fixture
    def secret(self) -> str:
        """Return a text that must not appear anywhere: the model's API key."""
        return "no-such-secret"

    async def test_every_choice_says_why_it_ended(self, model: Model) -> None:
        """Every choice has a finish reason."""
        completion = await model.complete(self.request())
        assert all(choice.finish_reason for choice in completion.choices)

    async def test_choices_are_sampled_assistant_messages(self, model: Model) -> None:
        """Text by a model is marked as sampled: only such text is trained on."""
        completion = await model.complete(self.request())
        for choice in completion.choices:
            assert choice.message.role == "assistant"
            assert choice.message.sampled
        assert completion.text == completion.choices[0].message.text

    async def test_usage_is_counted(self, model: Model) -> None:
        """Token counts are positive, and partial counts are no larger than their totals."""
        usage = (await model.complete(self.request())).usage
        assert usage.input_tokens > 0
        assert usage.output_tokens > 0
        assert usage.cached_input_tokens <= usage.input_tokens
        assert usage.reasoning_tokens <= usage.output_tokens

    @pytest.mark.parametrize("choices", [1, 3])
    async def test_there_are_exactly_as_many_choices_as_asked_for(self, model: Model, choices: int) -> None:
        """There are `n` choices, even where the endpoint does not support `n`."""
        completion = await model.complete(self.request(choices=choices))
        assert len(completion.choices) == choices

    async def test_token_ids_and_logprobs_agree(self, model: Model) -> None:
        """There is one log-probability for each sampled token, where both are given."""
        request = Request(messages=self.request().messages, sampling=Sampling(logprobs=True, max_tokens=16))
        for choice in (await model.complete(request)).choices:
            if choice.token_ids is not None and choice.logprobs is not None:
                assert len(choice.token_ids) == len(choice.logprobs)

    async def test_a_given_text_is_scored_or_refused(self, model: Model) -> None:
        """A model that cannot score raises `ModelError`, or `scored_choices` does."""
        asked = Request(messages=self.request().messages, score=self.texts, choices=len(self.texts))
        with suppress(ModelError):
            for choice in scored_choices(asked, await model.complete(asked)):
                assert choice.logprobs is not None
                assert choice.token_ids is None or len(choice.token_ids) == len(choice.logprobs)
                assert max(choice.logprobs) <= 0
                assert not choice.message.sampled

    async def test_streamed_text_is_the_answers_text(self, model: Model) -> None:
        """The pieces passed to `on_text` make up the first choice; there may be one piece or none."""
        pieces: list[str] = []
        request = Request(messages=self.request().messages, on_text=pieces.append)
        completion = await model.complete(request)
        assert "".join(pieces) in ("", completion.text)

    async def test_concurrent_calls_are_independent(self, model: Model) -> None:
        """Each of many concurrent calls returns one choice."""
        completions = await asyncio.gather(
            *[model.complete(self.request(f"{self.prompt} " * (i % 3 + 1))) for i in range(20)]
        )
        assert all(len(completion.choices) == 1 for completion in completions)

    async def test_other_event_loops_may_use_it(self, model: Model) -> None:
        """A model is not bound to an event loop, and need not be closed in each."""
        await model.complete(self.request())
        first = asyncio.create_task(asyncio.to_thread(_run, lambda: model.complete(self.request())))
        second = asyncio.create_task(asyncio.to_thread(_run, lambda: model.complete(self.request())))
        for completion in await asyncio.gather(first, second):
            assert len(completion.choices) == 1
        await model.complete(self.request())

    async def test_cancelling_a_call_leaves_the_model_usable(self, model: Model) -> None:
        """A cancelled call raises `CancelledError`, and the next call succeeds."""
        task = asyncio.create_task(model.complete(self.request()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await model.complete(self.request())).choices

    async def test_it_can_be_closed_and_used_again(self, model: Model) -> None:
        """Closing twice is allowed; a later call opens connections again."""
        await model.complete(self.request())
        await model.aclose()
        await model.aclose()
        assert (await model.complete(self.request())).choices

    async def test_no_time_is_a_model_error_or_an_answer(self, model: Model) -> None:
        """A deadline that cannot be met raises `ModelError`, not `TimeoutError`."""
        request = Request(messages=self.request().messages, timeout_s=1e-9)
        with suppress(ModelError):
            await model.complete(request)

    async def test_failures_are_model_errors(self, broken: Model | None, secret: str) -> None:
        """All failures are `ModelError`s, and do not show the API key."""
        if broken is None:
            pytest.skip("no `broken` fixture")
        with pytest.raises(ModelError) as raised:
            await broken.complete(self.request())
        await broken.aclose()
        assert secret not in f"{raised.value!r} {raised.value}"

    async def test_the_spec_is_stable_and_holds_no_secret(self, model: Model, secret: str) -> None:
        """The spec names the model in records, without the API key."""
        assert model.spec
        assert model.spec == model.spec
        assert secret not in model.spec
        assert secret not in repr(model)

    async def test_it_is_a_model(self, model: Model) -> None:
        """It has the protocol's methods."""
        assert isinstance(model, Model)


def _run(call: Callable[[], Awaitable[Completion]]) -> Completion:
    async def main() -> Completion:
        return await call()

    return asyncio.run(main())
