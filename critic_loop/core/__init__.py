"""Records, the tree, value, stop rules, budgets, errors and protocols: pydantic only, no I/O.

What is offered here is what a package of your own needs: a model provider, a verifier, a store, a search. Names
load on first use. Errors are in `critic_loop.errors`. What only a module of this package names may change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from critic_loop.core.lazy import lazy

if TYPE_CHECKING:
    from critic_loop.core.functions import (
        critic,
        grader,
        verifier,
    )
    from critic_loop.core.listing import TreeInfo, TreePage, TreeQuery, TreeState
    from critic_loop.core.messages import (
        File,
        Image,
        Message,
        Opaque,
        Reasoning,
        Text,
        ToolCall,
        ToolResult,
        assistant,
        system,
        user,
    )
    from critic_loop.core.progress import Progress, StopReason
    from critic_loop.core.protocols import (
        Compare,
        Completion,
        CritiqueOutput,
        Delta,
        Model,
        Move,
        Output,
        OutputSchema,
        Parsed,
        Pick,
        Request,
        Search,
        Select,
        Stop,
        Store,
        ToolSpec,
        Wait,
        scored_choices,
    )
    from critic_loop.core.records import (
        Ask,
        Attempt,
        Box,
        Call,
        Choice,
        ContextSpec,
        Criterion,
        Event,
        Feedback,
        Head,
        Location,
        Outcome,
        Place,
        Record,
        Reply,
        Sampling,
        Span,
        Spend,
        Step,
        Subject,
        Task,
        Usage,
        Verdict,
    )
    from critic_loop.core.roles import Actor, Critic, Debater, Grader, Human, Judge, Turn, Unfinished, Verifier
    from critic_loop.core.rules import Rule, StopFunction
    from critic_loop.core.tools import (
        Tool,
        ToolContext,
        ToolOutput,
        ToolScope,
        tool_digest,
    )
    from critic_loop.core.tree import (
        Tree,
    )
    from critic_loop.core.value import (
        Value,
    )
    from critic_loop.core.view import ModelAccess, View

__all__ = [
    "Actor",
    "Ask",
    "Attempt",
    "Box",
    "Call",
    "Choice",
    "Compare",
    "Completion",
    "ContextSpec",
    "Criterion",
    "Critic",
    "CritiqueOutput",
    "Debater",
    "Delta",
    "Event",
    "Feedback",
    "File",
    "Grader",
    "Head",
    "Human",
    "Image",
    "Judge",
    "Location",
    "Message",
    "Model",
    "ModelAccess",
    "Move",
    "Opaque",
    "Outcome",
    "Output",
    "OutputSchema",
    "Parsed",
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
    "Tool",
    "ToolCall",
    "ToolContext",
    "ToolOutput",
    "ToolResult",
    "ToolScope",
    "ToolSpec",
    "Tree",
    "TreeInfo",
    "TreePage",
    "TreeQuery",
    "TreeState",
    "Turn",
    "Unfinished",
    "Usage",
    "Value",
    "Verdict",
    "Verifier",
    "View",
    "Wait",
    "assistant",
    "critic",
    "grader",
    "scored_choices",
    "system",
    "tool_digest",
    "user",
    "verifier",
]


__getattr__ = lazy(__name__, {
    "messages": (
        "File", "Image", "Message", "Opaque", "Reasoning", "Text", "ToolCall", "ToolResult",
        "assistant", "system", "user",
    ),
    "functions": ("critic", "grader", "verifier"),
    "roles": (
        "Actor", "Critic", "Debater", "Grader", "Human", "Judge", "Turn", "Unfinished", "Verifier",
    ),
    "tools": ("Tool", "ToolContext", "ToolOutput", "ToolScope", "tool_digest"),
    "value": ("Value",),
    "view": ("ModelAccess", "View"),
    "listing": ("TreeInfo", "TreePage", "TreeQuery", "TreeState"),
    "protocols": (
        "Compare", "Completion", "CritiqueOutput", "Delta", "Model", "Move", "Output", "OutputSchema", "Parsed",
        "Pick", "Request", "Search", "Select", "Stop", "Store", "ToolSpec", "Wait",
        "scored_choices",
    ),
    "records": (
        "Ask", "Attempt", "Box", "Call", "Choice", "ContextSpec", "Criterion", "Event", "Feedback", "Head",
        "Location", "Outcome", "Place", "Record", "Reply", "Sampling", "Span", "Spend", "Step", "Subject",
        "Task", "Usage", "Verdict",
    ),
    "progress": ("Progress", "StopReason"),
    "rules": ("Rule", "StopFunction"),
    "tree": (
        "Tree",
    ),
})  # fmt: skip


def __dir__() -> list[str]:
    return __all__
