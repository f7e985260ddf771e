"""How kinds of endpoints differ, as data.

Knows capabilities and names of fields. Does not know the wire formats themselves (`wire.dialects`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How one kind of endpoint differs from the others."""

    name: str
    dialect: Literal["chat", "messages"] = "chat"
    """Its wire format."""
    base_url: str = ""
    """Its address unless a spec names one; empty = the spec must name one."""
    key_env: str = ""
    """The environment variable that holds its key."""
    key_required: bool = False
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    many_choices: bool = True
    """Whether `n` works; without it, n choices are n requests."""
    output: Literal["json_schema", "json_object"] | None = "json_schema"
    strict_tools: Literal["always", "where_possible", "never"] = "never"
    """When tools are sent with `strict`: OpenAI refuses it for schemas with optional fields."""
    reasoning_field: Literal["reasoning", "reasoning_content"] | None = None
    """The field in which earlier reasoning is sent back; None = it is left out."""
    tool_result_name: bool = False
    return_token_ids: bool = False
    """Whether to ask for token ids with every answer: trainers need those that were sampled."""
    adapters: bool = False
    """Whether NAME+ADAPTER names an adapter, which it serves under the adapter's own name."""
    prompt_logprobs: bool = False
    """Whether log-probabilities of a given text are served; else only texts of one token can be scored."""
    continues: bool = False
    """Whether it continues an answer with which the conversation ends."""
    stream_usage: bool = True
    opaque_fields: tuple[str, ...] = ()
    """Message fields of its own that it needs back verbatim."""
    lacks: frozenset[str] = frozenset()
    """What its format has no field for, or a probe denied: `seed`, `logprobs`, `tools`, `images`."""


GENERIC = Profile(name="chat", key_env="CHAT_API_KEY", opaque_fields=("reasoning_details",))
"""A server of which no more is known than that it has chat completions."""
