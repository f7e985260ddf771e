"""Records, the tree, value, stop rules, budgets, errors and protocols: pydantic only, no I/O.

What is offered here is what a package of your own needs: a model provider, a verifier, a store, a search. Names
load on first use. Errors are in `critic_loop.errors`. What only a module of this package names may change.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from critic_loop.core.messages import File as File
    from critic_loop.core.messages import Image as Image
    from critic_loop.core.messages import Message as Message
    from critic_loop.core.messages import Opaque as Opaque
    from critic_loop.core.messages import Reasoning as Reasoning
    from critic_loop.core.messages import Text as Text
    from critic_loop.core.messages import ToolCall as ToolCall
    from critic_loop.core.messages import ToolResult as ToolResult
    from critic_loop.core.messages import assistant as assistant
    from critic_loop.core.messages import system as system
    from critic_loop.core.messages import user as user
    from critic_loop.core.protocols import Compare as Compare
    from critic_loop.core.protocols import Completion as Completion
    from critic_loop.core.protocols import Delta as Delta
    from critic_loop.core.protocols import Model as Model
    from critic_loop.core.protocols import Move as Move
    from critic_loop.core.protocols import OutputSchema as OutputSchema
    from critic_loop.core.protocols import Pick as Pick
    from critic_loop.core.protocols import Request as Request
    from critic_loop.core.protocols import Search as Search
    from critic_loop.core.protocols import Select as Select
    from critic_loop.core.protocols import Stop as Stop
    from critic_loop.core.protocols import Store as Store
    from critic_loop.core.protocols import ToolSpec as ToolSpec
    from critic_loop.core.protocols import TreeInfo as TreeInfo
    from critic_loop.core.protocols import Wait as Wait
    from critic_loop.core.protocols import scored_choices as scored_choices
    from critic_loop.core.records import Ask as Ask
    from critic_loop.core.records import Attempt as Attempt
    from critic_loop.core.records import Box as Box
    from critic_loop.core.records import Call as Call
    from critic_loop.core.records import Choice as Choice
    from critic_loop.core.records import ContextSpec as ContextSpec
    from critic_loop.core.records import Criterion as Criterion
    from critic_loop.core.records import Event as Event
    from critic_loop.core.records import Feedback as Feedback
    from critic_loop.core.records import Head as Head
    from critic_loop.core.records import Location as Location
    from critic_loop.core.records import Outcome as Outcome
    from critic_loop.core.records import Place as Place
    from critic_loop.core.records import Record as Record
    from critic_loop.core.records import Reply as Reply
    from critic_loop.core.records import Sampling as Sampling
    from critic_loop.core.records import Span as Span
    from critic_loop.core.records import Spend as Spend
    from critic_loop.core.records import Step as Step
    from critic_loop.core.records import Subject as Subject
    from critic_loop.core.records import Task as Task
    from critic_loop.core.records import Usage as Usage
    from critic_loop.core.records import Verdict as Verdict
    from critic_loop.core.stop import Progress as Progress
    from critic_loop.core.stop import Rule as Rule
    from critic_loop.core.stop import StopFunction as StopFunction
    from critic_loop.core.stop import StopReason as StopReason
    from critic_loop.core.tree import Tree as Tree

_HOMES = {
    "messages": (
        "File", "Image", "Message", "Opaque", "Reasoning", "Text", "ToolCall", "ToolResult",
        "assistant", "system", "user",
    ),
    "protocols": (
        "Compare", "Completion", "Delta", "Model", "Move", "OutputSchema", "Pick", "Request", "Search",
        "Select", "Stop", "Store", "ToolSpec", "TreeInfo", "Wait", "scored_choices",
    ),
    "records": (
        "Ask", "Attempt", "Box", "Call", "Choice", "ContextSpec", "Criterion", "Event", "Feedback", "Head",
        "Location", "Outcome", "Place", "Record", "Reply", "Sampling", "Span", "Spend", "Step", "Subject",
        "Task", "Usage", "Verdict",
    ),
    "stop": (
        "Progress", "Rule", "StopFunction", "StopReason",
    ),
    "tree": (
        "Tree",
    ),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = [
    "Ask",
    "Attempt",
    "Box",
    "Call",
    "Choice",
    "Compare",
    "Completion",
    "ContextSpec",
    "Criterion",
    "Delta",
    "Event",
    "Feedback",
    "File",
    "Head",
    "Image",
    "Location",
    "Message",
    "Model",
    "Move",
    "Opaque",
    "Outcome",
    "OutputSchema",
    "Pick",
    "Place",
    "Progress",
    "Reasoning",
    "Record",
    "Reply",
    "Request",
    "Rule",
    "Sampling",
    "Search",
    "Select",
    "Span",
    "Spend",
    "Step",
    "Stop",
    "StopFunction",
    "StopReason",
    "Store",
    "Subject",
    "Task",
    "Text",
    "ToolCall",
    "ToolResult",
    "ToolSpec",
    "Tree",
    "TreeInfo",
    "Usage",
    "Verdict",
    "Wait",
    "assistant",
    "scored_choices",
    "system",
    "user",
]


def __getattr__(name: str) -> Any:
    """Load a name from its home on first use."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
