"""Scoring of a given text as the next message: the requests that it takes.

Knows when to send what. Does not know the fields (`wire.scoring`), nor what the numbers are for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from critic_loop.core.errors import CannotScore
from critic_loop.core.messages import Message, assistant, user
from critic_loop.core.protocols import Completion, Model, Request, scored_choices
from critic_loop.core.records import Choice
from critic_loop.models.transport.endpoint import at_once
from critic_loop.models.wire.chat_completions import from_wire, to_wire
from critic_loop.models.wire.common import Json, merge
from critic_loop.models.wire.profiles import Profile
from critic_loop.models.wire.scoring import (
    LIKELIEST,
    choice_from_prompt,
    continued_body,
    first_tokens,
    spelled,
    without_texts,
)

Post: TypeAlias = Callable[[Json], Awaitable[Json]]


async def score(model: Model, prompt: str | Sequence[Message], *continuations: str) -> tuple[Choice, ...]:
    """Return each continuation as an assistant's next message, with token ids and log-probabilities as served.

    Raises:
        ModelError: the model cannot, or failed.
    """
    messages = (user(prompt),) if isinstance(prompt, str) else tuple(prompt)
    request = Request(messages=messages, score=continuations, choices=len(continuations))
    return scored_choices(request, await model.complete(request))


async def scored(
    request: Request, post: Post, *, name: str, profile: Profile, extra: Mapping[str, Any]
) -> Completion:
    """Answer a request to score: nothing is drawn, and nothing is tokenised here.

    It is read off a prompt's log-probabilities where they are served, else off the likeliest first tokens of an
    answer, as far as they tell.

    Raises:
        ModelError: the endpoint failed, or does not tell.
        ValueError, TypeError, KeyError: the bodies hold no ids or log-probabilities.
    """
    asked: Json = {**extra, **to_wire(without_texts(request), name=name, profile=profile)}
    if profile.prompt_logprobs:
        return await _from_prompts(request.score, post, asked | {"return_token_ids": True}, profile)
    return await _from_first_tokens(request.score, post, asked, profile)


async def _from_prompts(texts: Sequence[str], post: Post, asked: Json, profile: Profile) -> Completion:
    """Send one request for the prompt's tokens, and one for each text's.

    What a text's tokens are is read off the two lists of ids that the server sent: those behind the prompt's,
    without what a template puts before the text.
    """
    opening = await post(asked)
    prompt_ids = tuple(opening["prompt_token_ids"])

    async def one(text: str) -> Completion:
        body = await post(continued_body(asked, text))
        answer = from_wire(body, profile=profile)
        return replace(answer, choices=(choice_from_prompt(text, prompt_ids, body),))

    answers = await at_once([one(text) for text in texts])
    whole = merge([from_wire(opening, profile=profile), *answers])
    return replace(whole, choices=whole.choices[-len(answers) :], prompt_token_ids=prompt_ids)


async def _from_first_tokens(texts: Sequence[str], post: Post, asked: Json, profile: Profile) -> Completion:
    """Send one request, for the likeliest first tokens of an answer: enough for texts of one token.

    Raises:
        CannotScore: no log-probabilities came, or a text is not among the likeliest tokens.
    """
    body = await post(asked | {"logprobs": True, "top_logprobs": LIKELIEST})
    served = first_tokens(body)
    logprobs: list[float] = []
    for text in texts:
        logprob = spelled(text, served)
        if logprob is None:
            why = f", and {text[:40]!r} is not among its {len(served)} likeliest first tokens" if served else ""
            raise CannotScore(
                f"Model {asked['model']!r} serves no log-probabilities of a given text{why}.",
                hint="Bind a vLLM server; `critic-loop models probe SPEC` says what an endpoint can do.",
            )
        logprobs.append(logprob)
    choices = tuple(
        Choice(message=assistant(text), finish_reason="scored", logprobs=(logprob,))
        for text, logprob in zip(texts, logprobs, strict=True)
    )
    return replace(from_wire(body, profile=profile), choices=choices)
