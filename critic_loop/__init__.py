"""Critic Loop: draft, critique, refine or search, and keep every attempt in a tree.

    import critic_loop as cl

    loop = cl.Loop("refine", actor="openai:gpt-5-mini", critic="vllm:Qwen3-8B@http://gpu:8000")
    result = await loop.run("Fix #41")

A newcomer needs `Loop`, `Task`, `Result`, `Tree`, `Store`. Names load on first use, so that importing
this package stays light: no LangGraph, HTTP client or database until something needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from critic_loop.core.lazy import lazy
from critic_loop.core.version import VERSION

if TYPE_CHECKING:
    from critic_loop.assets.recipe import Recipe as Recipe
    from critic_loop.core.errors import CriticLoopError as CriticLoopError
    from critic_loop.core.functions import critic as critic
    from critic_loop.core.functions import grader as grader
    from critic_loop.core.functions import verifier as verifier
    from critic_loop.core.messages import File as File
    from critic_loop.core.messages import Image as Image
    from critic_loop.core.messages import Message as Message
    from critic_loop.core.messages import assistant as assistant
    from critic_loop.core.messages import system as system
    from critic_loop.core.messages import user as user
    from critic_loop.core.progress import Progress as Progress
    from critic_loop.core.progress import StopReason as StopReason
    from critic_loop.core.protocols import Compare as Compare
    from critic_loop.core.protocols import Delta as Delta
    from critic_loop.core.protocols import Model as Model
    from critic_loop.core.protocols import Move as Move
    from critic_loop.core.protocols import Pick as Pick
    from critic_loop.core.protocols import Stop as Stop
    from critic_loop.core.protocols import Store as Store
    from critic_loop.core.protocols import Wait as Wait
    from critic_loop.core.records import Attempt as Attempt
    from critic_loop.core.records import Feedback as Feedback
    from critic_loop.core.records import Sampling as Sampling
    from critic_loop.core.records import Task as Task
    from critic_loop.core.records import Verdict as Verdict
    from critic_loop.core.roles import Human as Human
    from critic_loop.core.roles import Unfinished as Unfinished
    from critic_loop.core.stop import Accepted as Accepted
    from critic_loop.core.stop import Diminishing as Diminishing
    from critic_loop.core.stop import Elapsed as Elapsed
    from critic_loop.core.stop import Failing as Failing
    from critic_loop.core.stop import MaxAttempts as MaxAttempts
    from critic_loop.core.stop import MaxRounds as MaxRounds
    from critic_loop.core.stop import Plateau as Plateau
    from critic_loop.core.stop import Spent as Spent
    from critic_loop.core.stop import Verified as Verified
    from critic_loop.core.tools import Tool as Tool
    from critic_loop.core.tools import ToolContext as ToolContext
    from critic_loop.core.tools import ToolOutput as ToolOutput
    from critic_loop.core.tree import Tree as Tree
    from critic_loop.core.value import Value as Value
    from critic_loop.core.view import View as View
    from critic_loop.evidence import value_of as value_of
    from critic_loop.graph.events import StreamEvent as StreamEvent
    from critic_loop.graph.events import event_json as event_json
    from critic_loop.graph.loop import Loop as Loop
    from critic_loop.graph.result import Result as Result
    from critic_loop.models import model as model
    from critic_loop.search import search as search
    from critic_loop.store import open_store as open_store
    from critic_loop.tools import tool as tool

_HOMES = {
    "assets.recipe": ("Recipe",),
    "core.errors": ("CriticLoopError",),
    "core.functions": ("critic", "grader", "verifier"),
    "core.messages": ("File", "Image", "Message", "assistant", "system", "user"),
    "core.protocols": ("Compare", "Delta", "Model", "Move", "Pick", "Stop", "Store", "Wait"),
    "core.records": ("Attempt", "Feedback", "Sampling", "Task", "Verdict"),
    "core.roles": ("Human", "Unfinished"),
    "core.progress": ("Progress", "StopReason"),
    "core.stop": (
        "Accepted", "Diminishing", "Elapsed", "Failing", "MaxAttempts", "MaxRounds", "Plateau", "Spent",
        "Verified",
    ),
    "core.tools": ("Tool", "ToolContext", "ToolOutput"),
    "core.tree": ("Tree",),
    "core.value": ("Value",),
    "core.view": ("View",),
    "evidence": ("value_of",),
    "graph.loop": ("Loop",),
    "graph.events": ("StreamEvent", "event_json"),
    "graph.result": ("Result",),
    "models": ("model",),
    "search": ("search",),
    "store": ("open_store",),
    "tools": ("tool",),
}  # fmt: skip
__getattr__ = lazy(__name__, _HOMES)
__all__ = [
    "Accepted",
    "Attempt",
    "Compare",
    "CriticLoopError",
    "Delta",
    "Diminishing",
    "Elapsed",
    "Failing",
    "Feedback",
    "File",
    "Human",
    "Image",
    "Loop",
    "MaxAttempts",
    "MaxRounds",
    "Message",
    "Model",
    "Move",
    "Pick",
    "Plateau",
    "Progress",
    "Recipe",
    "Result",
    "Sampling",
    "Spent",
    "Stop",
    "StopReason",
    "Store",
    "StreamEvent",
    "Task",
    "Tool",
    "ToolContext",
    "ToolOutput",
    "Tree",
    "Unfinished",
    "Value",
    "Verdict",
    "Verified",
    "View",
    "Wait",
    "assistant",
    "critic",
    "event_json",
    "grader",
    "model",
    "open_store",
    "search",
    "system",
    "tool",
    "user",
    "value_of",
    "verifier",
]
__version__ = VERSION


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
