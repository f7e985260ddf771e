"""Between records and what is kept of them: plain fields, bytes apart, versions checked.

Knows records. Does not know where anything is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from pydantic import ValidationError

from critic_loop.core.errors import ConfigError, NoSuchAttempt, NoSuchTree, StoreError
from critic_loop.core.messages import File, Image, Message, ToolResult
from critic_loop.core.records import (
    SCHEMA_VERSION,
    Ask,
    Attempt,
    Call,
    Event,
    Feedback,
    Head,
    Outcome,
    Record,
    Reply,
    Subject,
    tree_of,
)
from critic_loop.store.known import Known
from critic_loop.store.migrate import upgraded

Kind: TypeAlias = (
    type[Head]
    | type[Ask]
    | type[Call]
    | type[Reply]
    | type[Attempt]
    | type[Feedback]
    | type[Event]
    | type[Outcome]
)

KIND_OF: dict[str, Kind] = {
    "h": Head,
    "a": Ask,
    "c": Call,
    "r": Reply,
    "t": Attempt,
    "p": Attempt,
    "f": Feedback,
    "u": Feedback,
    "e": Event,
    "o": Outcome,
}
"""Classes of records by the letters that stand for them in stores. Never changed, only added to."""

UNSETTLED = "p"
"""Letter of an attempt that will be written again."""
LATE = "u"
"""Letter of feedback added by `add_feedback`."""

_LETTER: dict[type, str] = {kind: letter for letter, kind in KIND_OF.items() if letter not in (UNSETTLED, LATE)}


def letter_of(record: Record, *, late: bool) -> str:
    """Return the letter that stands for a record's kind."""
    if isinstance(record, Attempt) and not record.settled:
        return UNSETTLED
    return LATE if late else _LETTER[type(record)]


Blob = Image | File


def fields_of(record: Record) -> dict[str, Any]:
    """Return what differs from the defaults, as plain values; floats and integers stay exact."""
    fields = record.model_dump(exclude_defaults=True)
    return fields | {"schema_version": record.schema_version} if isinstance(record, Head) else fields


def record_of(letter: str, fields: Mapping[str, Any], tree_id: str, version: int = SCHEMA_VERSION) -> Record:
    """Return the record that `fields_of` took apart.

    Args:
        letter: its kind.
        fields: what was stored.
        tree_id: the tree that it belongs to.
        version: the schema version of that tree's head.

    Raises:
        StoreError: a newer version wrote it, or it is damaged.
    """
    kind = KIND_OF.get(letter)
    if kind is None:
        raise StoreError(f"tree {tree_id!r} holds an unknown kind {letter!r}.", hint="Upgrade critic_loop.")
    if kind is Head:
        version = version_in(fields)
        require_readable(version, tree_id)
    try:
        if version < SCHEMA_VERSION:
            fields = upgraded(str(kind.model_fields["type"].default), fields, version)
        return kind.model_validate(fields)
    except (ValidationError, KeyError, TypeError, AttributeError, ValueError) as error:  # any kind of damage
        raise StoreError(f"tree {tree_id!r} holds a {kind.__name__} that cannot be read: {error}") from error


def version_in(head: Mapping[str, Any]) -> int:
    """Return the schema version that a stored head names: until version 2 it was left out."""
    return int(head.get("schema_version", 1))


def require_readable(version: int, tree_id: str) -> None:
    """Check that records of this schema version can be read.

    Raises:
        StoreError: a newer critic_loop wrote them.
    """
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"tree {tree_id!r} was written by a newer critic_loop (record schema {version}); "
            f"this one reads up to {SCHEMA_VERSION}.",
            hint="Upgrade critic_loop.",
        )


def messages_of(record: Record) -> Iterator[Message]:
    """Iterate over the messages within a record."""
    match record:
        case Head():
            yield from record.task.prompt
        case Call():
            yield from record.request
        case Reply():
            yield from (choice.message for choice in record.choices)
        case Attempt():
            yield from record.messages
        case _:
            pass


def blobs_of(record: Record) -> Iterator[Blob]:
    """Iterate over the parts of a record that stand for bytes."""
    for message in messages_of(record):
        yield from message.blobs


def with_bytes(record: Record, find: Callable[[str], bytes | None]) -> Record:
    """Return `record` with the bytes of its images and files filled in, where `find` knows them."""
    if all(blob.data is not None for blob in blobs_of(record)):
        return record

    def filled(messages: Iterable[Message]) -> tuple[Message, ...]:
        return tuple(_filled(message, find) for message in messages)

    match record:
        case Head(task=task):
            prompt = filled(task.prompt)
            return record.model_copy(update={"task": task.model_copy(update={"prompt": prompt})})
        case Call():
            return record.model_copy(update={"request": filled(record.request)})
        case Reply():
            choices = (c.model_copy(update={"message": _filled(c.message, find)}) for c in record.choices)
            return record.model_copy(update={"choices": tuple(choices)})
        case Attempt():
            return record.model_copy(update={"messages": filled(record.messages)})
        case _:
            return record


def _filled(message: Message, find: Callable[[str], bytes | None]) -> Message:
    def fill(part: Any) -> Any:
        if isinstance(part, ToolResult) and part.blobs:
            return part.model_copy(update={"parts": tuple(fill(each) for each in part.parts)})
        if not isinstance(part, Image | File) or part.data is not None:
            return part
        return part.model_copy(update={"data": find(part.sha256)})

    return message.model_copy(update={"parts": tuple(fill(part) for part in message.parts)})


def late_feedback(attempt_id: str, feedback: Feedback, suffix: str) -> Feedback:
    """Return `feedback` as it is added to a tree later on: with an id that no run can give out.

    Its subject, unless it has one, is what `attempt_id` names: an attempt, or another feedback.

    Raises:
        ConfigError: it does not say who its author is: in a store that only grows, that could never be told.
    """
    if not feedback.author:
        raise ConfigError(
            f"feedback on {attempt_id!r} has no author.",
            hint="Write Feedback.user(...), `await my_verifier(view)`, or set source= and author=.",
        )
    tree_id, _, local = attempt_id.rpartition(".")
    about = Subject(feedback=attempt_id) if local[:1] in ("f", "u") else Subject.of(attempt_id)
    update = {"id": f"{tree_id}.u{suffix}", "subject": feedback.subject or about}
    return Feedback.model_validate(feedback.model_copy(update=update).model_dump())


def require_known(feedback: Feedback, known: Known) -> None:
    """Check that a tree can take `feedback`.

    Raises:
        NoSuchAttempt: it names something that the tree does not have.
    """
    missing = known.missing(feedback)
    if missing:
        raise NoSuchAttempt(f"tree {tree_of(feedback.id)!r} has no {', '.join(map(repr, missing))}")


def check_heads(tree_id: str, records: tuple[Record, ...], *, exists: bool) -> None:
    """Check that `records` begin a new tree with its head, or go on with a known one without.

    Raises:
        StoreError: they do neither.
    """
    first = records[0] if records else None
    if any(isinstance(record, Head) for record in records[1:]) or (exists and isinstance(first, Head)):
        raise StoreError(f"tree {tree_id!r} has a head already")
    if isinstance(first, Head) and first.tree != tree_id:
        raise StoreError(f"the head of tree {first.tree!r} was given for tree {tree_id!r}")
    if not exists and not isinstance(first, Head):
        raise NoSuchTree(f"there is no tree {tree_id!r}: a new tree's first record is its head")
