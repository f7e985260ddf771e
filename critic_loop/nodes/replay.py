"""Calls answered from a stored tree instead of models: a replay.

Knows calls, places and digests. Strict: a request that is not in the stored run is an error that says
what differs. Does not know stores (`graph.loop` finds the tree).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields

from pydantic_core import to_json

from critic_loop.core.errors import CriticLoopError, ModelError, NotRecorded
from critic_loop.core.messages import Message
from critic_loop.core.protocols import Completion, Request
from critic_loop.core.records import Call, Place, Reply, tree_of
from critic_loop.core.tree import Tree

COMPLETION_FIELDS = tuple(f.name for f in fields(Completion) if f.name in Reply.model_fields)
"""Fields of a completion that a reply has, too."""
_MOST_LINES = 12


class Replay:
    """The replies of a stored tree, by request."""

    def __init__(self, tree: Tree) -> None:
        """Take the stored tree."""
        self.tree = tree
        self._asked: dict[tuple[str, str], list[Call]] = {}
        for call in tree.calls.values():
            self._asked.setdefault((call.place.agent, call.digest), []).append(call)

    def answer(self, place: Place, digest: str, request: Request) -> tuple[Call, Reply]:
        """Return the stored call with this request at this place, else of this agent elsewhere, and its reply.

        An answer comes before an error: of a fallback's candidates, the one that was used.

        Raises:
            NotRecorded: the stored run has no such request, or no answer to it; says what differs.
        """
        at = place.model_copy(update={"subject": tuple(map(self._here, place.subject))})
        same = [call for call in self.tree.calls_at(at) if call.digest == digest]
        same = same or self._asked.get((place.agent, digest), [])
        for status in ("ok", "error"):
            for call in reversed(same):
                reply = self.tree.replies.get(call.id)
                if reply is not None and reply.status == status:
                    return call, reply
        raise self._not_recorded(at, request, answered=not same)

    def _here(self, record_id: str) -> str:
        """Return the stored tree's id for a record of the tree that runs now."""
        return self.tree.id + record_id.removeprefix(tree_of(record_id))

    def _not_recorded(self, at: Place, request: Request, *, answered: bool) -> NotRecorded:
        where = f"{at.agent} about {', '.join(at.subject)}" + (f", turn {at.turn}" if at.turn else "")
        if not answered:
            return NotRecorded(f"the stored run was cut off before {where} was answered.")
        near = self.tree.calls_at(at)
        if not near:
            hint = "The stored run did not come to this: it made other attempts, or ended before."
            return NotRecorded(f"the stored run did not ask {where}.", hint=hint)
        differs = "\n".join(_difference(near[-1], request))
        return NotRecorded(f"the stored run asked {where} something else ({near[-1].id}):\n{differs}\n")


def raised_again(reply: Reply) -> CriticLoopError:
    """Return the error that a stored reply stands for."""
    kinds = [ModelError, *ModelError.__subclasses__()]
    kind = next((kind for kind in kinds if kind.code == reply.error_code), ModelError)
    return kind(reply.error)


def completion_of(reply: Reply) -> Completion:
    """Return the answer that a reply keeps."""
    return Completion(**{name: getattr(reply, name) for name in COMPLETION_FIELDS})


class Placeholder:
    """A model for slots whose calls are all answered from a stored tree."""

    spec = "replay"

    async def complete(self, request: Request) -> Completion:  # noqa: ARG002
        """Raise an error.

        Raises:
            NotRecorded: always; a replay sends no call.
        """
        raise NotRecorded("a call was sent to a model during a replay.")

    async def aclose(self) -> None:
        """Nothing is held."""


def _difference(stored: Call, request: Request) -> Iterator[str]:
    """Yield the differences between a stored request and a new one, a line each."""
    old, new = _lines(stored.request), _lines(request.messages)
    changed = list(difflib.unified_diff(old, new, n=0, lineterm=""))[2:]
    yield from changed[:_MOST_LINES]
    if len(changed) > _MOST_LINES:
        yield f"... and {len(changed) - _MOST_LINES} more lines"
    now = {
        "sampling": request.sampling.model_dump(exclude_defaults=True),
        "choices": request.choices,
        "tools": to_json([asdict(t) for t in request.tools]).decode() if request.tools else "",
        "output schema": request.output.name if request.output else "",
        "scored texts": request.score,
    }
    then = {
        "sampling": stored.sampling.model_dump(exclude_defaults=True),
        "choices": stored.choices,
        "tools": stored.tools,
        "output schema": stored.output_schema,
        "scored texts": stored.score,
    }
    others = [name for name in now if now[name] != then[name]]
    for name in others:
        yield f"{name}: {then[name] or 'none'} -> {now[name] or 'none'}"
    if not changed and not others:
        yield "the output schema, or an image or a file"


def _lines(messages: Sequence[Message]) -> list[str]:
    lines: list[str] = []
    for message in messages:
        lines += [f"[{message.role}]", *message.text.splitlines()]
        lines += [
            part.model_dump_json() for part in message.parts if part.type not in ("text", "image", "file")
        ]
    return lines
