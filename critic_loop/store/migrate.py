"""Upgrades records of earlier schema versions as they are read.

Knows which fields were renamed, and in which version. Stored records are not rewritten: a file of an earlier
version may be on a read-only disk, and the version that wrote it can still read it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Fields = dict[str, Any]


def upgraded(kind: str, fields: Mapping[str, Any], version: int) -> Fields:
    """Return a record's fields under the names of the current version.

    Args:
        kind: the record's `type`.
        fields: the fields as stored; not mutated.
        version: the schema version of the tree's head. A record that a later version added to the tree (late
            feedback) has the new names already; they are kept.
    """
    upgrade = _FROM_1.get(kind) if version < 2 else None
    return dict(fields) if upgrade is None else upgrade(dict(fields))


def _head(head: Fields) -> Fields:
    head.setdefault("schema_version", 1)  # version 1 did not store it
    _rename(head, "parts", "components")
    head["task"] = task = dict(head["task"])
    _rename(task, "licence", "license")
    task["prompt"] = _messages(task["prompt"])
    return head


def _ask(ask: Fields) -> Fields:
    _rename(ask, "view", "context")
    if "context" in ask:
        ask["context"] = dict(ask["context"])
        _rename(ask["context"], "beside", "also_shown")
    return ask


def _call(call: Fields) -> Fields:
    return call | {"request": _messages(call["request"])}


def _reply(reply: Fields) -> Fields:
    choices = [choice | {"message": _message(choice["message"])} for choice in reply.get("choices", ())]
    return reply | {"choices": choices}


def _attempt(attempt: Fields) -> Fields:
    return attempt | {"messages": _messages(attempt.get("messages", ()))}


def _feedback(feedback: Fields) -> Fields:
    if "obeyed" in feedback:
        feedback["advisory"] = not feedback.pop("obeyed")
    subject = feedback.get("subject")
    if subject is not None and subject.get("part") is not None:
        feedback["subject"] = subject = dict(subject)
        _rename(subject, "part", "location")
        subject["location"] = dict(subject["location"])
        _rename(subject["location"], "part", "content_part")
    return feedback


def _outcome(outcome: Fields) -> Fields:
    outcome.pop("oracle", None)  # it is derived from the tree now
    return outcome


def _messages(messages: Any) -> list[Fields]:
    return [_message(message) for message in messages]


def _message(message: Mapping[str, Any]) -> Fields:
    return {**message, "parts": [_part(part) for part in message["parts"]]}


def _part(part: Mapping[str, Any]) -> Fields:
    """A tool's result was one text; now it is content parts."""
    if part.get("type") != "tool_result" or "text" not in part:
        return dict(part)
    kept = {name: value for name, value in part.items() if name != "text"}
    return {**kept, "parts": [{"type": "text", "text": part["text"]}]}


def _rename(fields: Fields, old: str, new: str) -> None:
    if old in fields:
        fields[new] = fields.pop(old)


_FROM_1: dict[str, Callable[[Fields], Fields]] = {
    "head": _head,
    "ask": _ask,
    "call": _call,
    "reply": _reply,
    "attempt": _attempt,
    "feedback": _feedback,
    "outcome": _outcome,
}
