"""Public fakes: a scripted model, a faulty OpenAI-compatible server, a virtual clock.

The contract suites need pytest and live in modules of their own (`testing.model_contract` and
others), so that importing this package does not import pytest. The server loads on first use.
"""

from typing import TYPE_CHECKING, Any

from critic_loop.testing.clock import VirtualLoop, run_virtual
from critic_loop.testing.scripted import OutOfReplies, ScriptedModel

if TYPE_CHECKING:
    from critic_loop.testing.chat_replies import Reply
    from critic_loop.testing.server import Fault, Received, TestServer

__all__ = [
    "Fault",
    "OutOfReplies",
    "Received",
    "Reply",
    "ScriptedModel",
    "TestServer",
    "VirtualLoop",
    "run_virtual",
]


def __getattr__(name: str) -> Any:
    if name in ("Fault", "Received", "Reply", "TestServer"):
        from critic_loop.testing import server

        return getattr(server, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
