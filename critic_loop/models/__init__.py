"""Models behind one protocol: clients for hosted and local endpoints, wrappers around models, slots.

Importing this package loads no HTTP client; the first call does.
"""

from critic_loop.core.errors import EndpointError, NoSuchModel
from critic_loop.models.client.chat import ChatModel
from critic_loop.models.client.scoring import CannotScore, score
from critic_loop.models.client.settings import ModelSettings
from critic_loop.models.providers.anthropic import ANTHROPIC
from critic_loop.models.providers.llamacpp import LLAMACPP
from critic_loop.models.providers.ollama import OLLAMA
from critic_loop.models.providers.openai import OPENAI
from critic_loop.models.providers.sglang import SGLANG
from critic_loop.models.providers.specs import backends, resolve
from critic_loop.models.providers.specs import resolve as model
from critic_loop.models.providers.vllm import VLLM
from critic_loop.models.slots.bindings import Binding, Change, Swap
from critic_loop.models.slots.pins import restore
from critic_loop.models.slots.routes import Bindable, Fallback, Route, Split, route_of
from critic_loop.models.slots.switchboard import Switchboard
from critic_loop.models.wire.chat_completions import from_wire, messages_from_wire, messages_to_wire, to_wire
from critic_loop.models.wire.profiles import GENERIC, Profile
from critic_loop.models.wrappers.breaker import BreakerEvent, FailurePolicy
from critic_loop.models.wrappers.limit import Limited
from critic_loop.models.wrappers.prices import Priced, Tariff, cost_usd, require_price
from critic_loop.models.wrappers.retry import Retrying, RetryPolicy

__all__ = [
    "ANTHROPIC",
    "GENERIC",
    "LLAMACPP",
    "OLLAMA",
    "OPENAI",
    "SGLANG",
    "VLLM",
    "Bindable",
    "Binding",
    "BreakerEvent",
    "CannotScore",
    "Change",
    "ChatModel",
    "EndpointError",
    "FailurePolicy",
    "Fallback",
    "Limited",
    "ModelSettings",
    "NoSuchModel",
    "Priced",
    "Profile",
    "RetryPolicy",
    "Retrying",
    "Route",
    "Split",
    "Swap",
    "Switchboard",
    "Tariff",
    "backends",
    "cost_usd",
    "from_wire",
    "messages_from_wire",
    "messages_to_wire",
    "model",
    "require_price",
    "resolve",
    "restore",
    "route_of",
    "score",
    "to_wire",
]
