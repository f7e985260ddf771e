"""How likely a given text is as the next message: log-probabilities, as endpoints serve them.

Knows the fields that make an endpoint score a text. Does not know what the numbers are for
(`nodes.likelihood`).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from critic_loop.core.errors import CannotScore
from critic_loop.core.messages import Message, assistant, user
from critic_loop.core.protocols import Completion, Model, Request, scored_choices
from critic_loop.core.records import Choice, Sampling
from critic_loop.models.transport.endpoint import at_once
from critic_loop.models.wire.chat_completions import Json, from_wire, merge, to_wire
from critic_loop.models.wire.profiles import Profile

_LIKELIEST = 20
"""As many first tokens as OpenAI and vLLM tell of at most."""
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
    bare = replace(
        request, score=(), choices=1, tools=(), output=None, on_text=None,
        sampling=Sampling(temperature=0.0, max_tokens=1, extra=request.sampling.extra),
    )  # fmt: skip
    asked: Json = {**extra, **to_wire(bare, name=name, profile=profile)}
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
    continued = {"prompt_logprobs": 0, "add_generation_prompt": False, "continue_final_message": True}

    async def one(text: str) -> Completion:
        messages = [*asked["messages"], {"role": "assistant", "content": text}]
        body = await post({**asked, **continued, "messages": messages})
        answer = from_wire(body, profile=profile)
        return replace(answer, choices=(_choice(text, prompt_ids, body),))

    answers = await at_once([one(text) for text in texts])
    whole = merge([from_wire(opening, profile=profile), *answers])
    return replace(whole, choices=whole.choices[-len(answers) :], prompt_token_ids=prompt_ids)


async def _from_first_tokens(texts: Sequence[str], post: Post, asked: Json, profile: Profile) -> Completion:
    """Send one request, for the likeliest first tokens of an answer: enough for texts of one token.

    Raises:
        CannotScore: no log-probabilities came, or a text is not among the likeliest tokens.
    """
    body = await post(asked | {"logprobs": True, "top_logprobs": _LIKELIEST})
    entries = (body["choices"][0].get("logprobs") or {}).get("content") or [{}]
    served = {top["token"]: float(top["logprob"]) for top in entries[0].get("top_logprobs") or ()}
    logprobs: list[float] = []
    for text in texts:
        logprob = _spelt(text, served)
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


def _spelt(text: str, served: Mapping[str, float]) -> float | None:
    """Return the log-probability of the token that is `text`, else of one with a blank before it."""
    return served.get(text, served.get(f" {text}"))


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
