"""Test doubles: a scripted model, a server with scripted replies and faults, and a virtual clock.

The contract suites (`testing.model_contract` and others) need pytest, so this package does not import them. The
server is imported on first use.
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
