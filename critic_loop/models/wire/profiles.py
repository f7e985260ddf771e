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
    """Where it answers unless the spec says so; empty = the spec must say."""
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
    """Whether those of a given text are served; without, only texts of one token can be scored."""
    continues: bool = False
    """Whether it goes on with an answer that the conversation ends in."""
    stream_usage: bool = True
    opaque_fields: tuple[str, ...] = ()
    """Message fields of its own that it wants back verbatim."""
    lacks: frozenset[str] = frozenset()
    """What its format has no field for, or a probe did not find: `seed`, `logprobs`, `tools`, `images`."""


OPENAI = Profile(
    name="openai",
    base_url="https://api.openai.com/v1",
    key_env="OPENAI_API_KEY",
    key_required=True,
    max_tokens_field="max_completion_tokens",
    strict_tools="where_possible",
)
VLLM = Profile(
    name="vllm",
    key_env="VLLM_API_KEY",
    max_tokens_field="max_completion_tokens",
    strict_tools="always",
    reasoning_field="reasoning",
    tool_result_name=True,
    return_token_ids=True,
    adapters=True,
    prompt_logprobs=True,
    continues=True,
)
SGLANG = Profile(name="sglang", key_env="SGLANG_API_KEY", reasoning_field="reasoning_content", continues=True)
LLAMACPP = Profile(
    name="llamacpp",
    base_url="http://127.0.0.1:8080/v1",
    key_env="LLAMA_API_KEY",
    reasoning_field="reasoning_content",
)
OLLAMA = Profile(
    name="ollama",
    base_url="http://127.0.0.1:11434/v1",
    key_env="OLLAMA_API_KEY",
    many_choices=False,
    reasoning_field="reasoning",
)
GENERIC = Profile(name="chat", key_env="CHAT_API_KEY", opaque_fields=("reasoning_details",))

ANTHROPIC = Profile(
    name="anthropic",
    dialect="messages",
    base_url="https://api.anthropic.com/v1",
    key_env="ANTHROPIC_API_KEY",
    key_required=True,
    many_choices=False,
    strict_tools="where_possible",
    continues=True,
    lacks=frozenset({"seed", "logprobs"}),
)
KINDS = (OPENAI, ANTHROPIC, VLLM, SGLANG, LLAMACPP, OLLAMA, GENERIC)
PROFILES = {profile.name: profile for profile in KINDS}
"""By the backend's name in a spec."""
