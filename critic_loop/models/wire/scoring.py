"""Log-probabilities of a given text, read off the answers of chat completions.

Knows the fields with which an endpoint scores a text. Does not know how many requests that takes
(`client.scoring`) or what the numbers are for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from critic_loop.core.messages import assistant
from critic_loop.core.protocols import Request
from critic_loop.core.records import Choice, Sampling
from critic_loop.models.wire.common import Json

LIKELIEST = 20
"""The most first tokens with log-probabilities that OpenAI and vLLM return."""


def without_texts(request: Request) -> Request:
    """Return a request to score without its texts: it asks for one token behind the prompt."""
    return replace(
        request, score=(), choices=1, tools=(), output=None, on_text=None,
        sampling=Sampling(temperature=0.0, max_tokens=1, extra=request.sampling.extra),
    )  # fmt: skip


def continued_body(opening: Json, text: str) -> Json:
    """Return the body that asks for the log-probabilities of the prompt's tokens, `text` behind it."""
    continued = {"prompt_logprobs": 0, "add_generation_prompt": False, "continue_final_message": True}
    messages = [*opening["messages"], {"role": "assistant", "content": text}]
    return {**opening, **continued, "messages": messages}


def first_tokens(body: Mapping[str, Any]) -> dict[str, float]:
    """Return the likeliest first tokens of an answer with their log-probabilities; empty if none came."""
    entries = (body["choices"][0].get("logprobs") or {}).get("content") or [{}]
    return {top["token"]: float(top["logprob"]) for top in entries[0].get("top_logprobs") or ()}


def spelled(text: str, served: Mapping[str, float]) -> float | None:
    """Return the log-probability of the token that is `text`, else of one with a space before it."""
    return served.get(text, served.get(f" {text}"))


def choice_from_prompt(text: str, prompt_ids: Sequence[int], body: Mapping[str, Any]) -> Choice:
    """Return `text` as a choice, from an answer with the log-probabilities of its prompt.

    Args:
        text: what the prompt ends in.
        prompt_ids: token ids of the prompt without the text.
        body: the answer to `continued_body`.

    Raises:
        ValueError, KeyError: the answer holds no ids or log-probabilities of the text.
    """
    ids: list[int] = body["prompt_token_ids"]
    entries = body["prompt_logprobs"]
    if len(ids) != len(entries):
        raise ValueError(f"{len(entries)} log-probabilities for {len(ids)} tokens")
    shared = next((i for i, (a, b) in enumerate(zip(prompt_ids, ids, strict=False)) if a != b), len(prompt_ids))
    at = [entries[i][str(ids[i])] for i in range(shared, len(ids))]
    if not at:
        raise ValueError("no token of the text")
    skipped = _template_tokens(text, [entry.get("decoded_token") or "" for entry in at])
    return Choice(
        message=assistant(text),
        finish_reason="scored",
        token_ids=tuple(ids[shared + skipped :]),
        logprobs=tuple(float(entry["logprob"]) for entry in at[skipped:]),
    )


def _template_tokens(text: str, decoded: Sequence[str]) -> int:
    """Return how many leading tokens belong to the chat template and not to the text, such as an empty thought.

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
