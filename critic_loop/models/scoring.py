"""How likely a given text is as the next message: log-probabilities, as vLLM serves them.

Knows the fields that make an endpoint score a text. Does not know what the numbers are for
(`nodes.likelihood`).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from critic_loop.core.errors import ModelError
from critic_loop.core.messages import Message, assistant, user
from critic_loop.core.protocols import Completion, Model, Request, scored_choices
from critic_loop.core.records import Choice, Sampling
from critic_loop.models.endpoint import at_once
from critic_loop.models.profiles import Profile
from critic_loop.models.wire import Json, from_wire, merge, to_wire

Post: TypeAlias = Callable[[Json], Awaitable[Json]]


class CannotScore(ModelError):
    """The endpoint serves no log-probabilities of a given text."""


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
    """Answer a request to score: one request for the prompt's tokens, one for each continuation's.

    What the continuation's tokens are is read off the two lists of ids that the server sent: those behind
    the prompt's. Nothing is tokenised here, nothing is drawn, and tokens that a template puts before the text
    are left out.

    Raises:
        ModelError: the endpoint failed.
        ValueError, TypeError, KeyError: the bodies hold no ids or log-probabilities.
    """
    bare = replace(
        request, score=(), choices=1, tools=(), output=None, on_text=None,
        sampling=Sampling(temperature=0.0, max_tokens=1, extra=request.sampling.extra),
    )  # fmt: skip
    asked: Json = {**extra, **to_wire(bare, name=name, profile=profile), "return_token_ids": True}
    opening = await post(asked)
    prompt_ids = tuple(opening["prompt_token_ids"])
    continued = {"prompt_logprobs": 0, "add_generation_prompt": False, "continue_final_message": True}

    async def one(text: str) -> Completion:
        messages = [*asked["messages"], {"role": "assistant", "content": text}]
        body = await post({**asked, **continued, "messages": messages})
        answer = from_wire(body, profile=profile)
        return replace(answer, choices=(_choice(text, prompt_ids, body),))

    answers = await at_once([one(text) for text in request.score])
    whole = merge([from_wire(opening, profile=profile), *answers])
    return replace(whole, choices=whole.choices[-len(answers) :], prompt_token_ids=prompt_ids)


def _choice(text: str, prompt_ids: Sequence[int], body: Mapping[str, Any]) -> Choice:
    ids: list[int] = body["prompt_token_ids"]
    entries = body["prompt_logprobs"]
    if len(ids) != len(entries):
        raise ValueError(f"{len(entries)} log-probabilities for {len(ids)} tokens")
    shared = next((i for i, (a, b) in enumerate(zip(prompt_ids, ids, strict=False)) if a != b), len(prompt_ids))
    at = [entries[i][str(ids[i])] for i in range(shared, len(ids))]
    if not at:
        raise ValueError("no token of the text")
    own = _own(text, [entry.get("decoded_token") or "" for entry in at])
    return Choice(
        message=assistant(text),
        finish_reason="scored",
        token_ids=tuple(ids[shared + own :]),
        logprobs=tuple(float(entry["logprob"]) for entry in at[own:]),
    )


def _own(text: str, decoded: Sequence[str]) -> int:
    """Return how many leading tokens are not the text's but its template's, such as an empty thought.

    Compared without blanks, which some tokenizers drop where a token is decoded alone; where the tokens do
    not spell the text (pieces of characters), all of them count.
    """
    wanted = re.sub(r"\s", "", text)
    pieces = [re.sub(r"\s", "", piece) for piece in decoded]
    rest = "".join(pieces)
    spare = len(rest) - len(wanted)
    if not wanted or not rest.endswith(wanted) or not spare:
        return 0
    own = 0
    while own < len(pieces) and len(pieces[own]) <= spare and (spare or not text[0].isspace()):
        spare -= len(pieces[own])
        own += 1
    return own
