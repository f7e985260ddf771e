"""Models behind one protocol: clients for hosted and local endpoints, wrappers around models, slots.

Importing this package loads no HTTP client; the first call does.
"""

from critic_loop.models.chat import ChatModel, ModelSettings
from critic_loop.models.failures import EndpointError, NoSuchModel
from critic_loop.models.limit import Limited
from critic_loop.models.profiles import (
    ANTHROPIC,
    GENERIC,
    LLAMACPP,
    OLLAMA,
    OPENAI,
    PROFILES,
    SGLANG,
    VLLM,
    Profile,
)
from critic_loop.models.retry import Retrying, RetryPolicy
from critic_loop.models.scoring import CannotScore, score
from critic_loop.models.specs import backends, resolve
from critic_loop.models.specs import resolve as model
from critic_loop.models.switchboard import Binding, Swap, Switchboard
from critic_loop.models.wire import from_wire, messages_from_wire, messages_to_wire, to_wire

__all__ = [
    "ANTHROPIC",
    "GENERIC",
    "LLAMACPP",
    "OLLAMA",
    "OPENAI",
    "PROFILES",
    "SGLANG",
    "VLLM",
    "Binding",
    "CannotScore",
    "ChatModel",
    "EndpointError",
    "Limited",
    "ModelSettings",
    "NoSuchModel",
    "Profile",
    "RetryPolicy",
    "Retrying",
    "Swap",
    "Switchboard",
    "backends",
    "from_wire",
    "messages_from_wire",
    "messages_to_wire",
    "model",
    "resolve",
    "score",
    "to_wire",
]
