"""Converts records to plain fields for storage and back; separates their bytes and checks versions.

Knows records. Does not know how or where they are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from pydantic import ValidationError

from critic_loop.core.errors import ConfigError, NoSuchAttempt, NoSuchTree, StoreError
from critic_loop.core.messages import File, Image, Message, ToolResult
from critic_loop.core.printable import excerpt
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
from critic_loop.store.migrate import upgraded
from critic_loop.store.tree_ids import TreeIds

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
"""Record classes by the letter of their kind in stores. Append only."""

UNSETTLED = "p"
"""Letter of an attempt that is not settled: it will be written again."""
LATE = "u"
"""Letter of feedback added by `add_feedback`."""

_LETTER: dict[type, str] = {kind: letter for letter, kind in KIND_OF.items() if letter not in (UNSETTLED, LATE)}


def letter_of(record: Record, *, late: bool) -> str:
    """Return the letter for a record's kind; `late` marks feedback added by `add_feedback`."""
    if isinstance(record, Attempt) and not record.settled:
        return UNSETTLED
    return LATE if late else _LETTER[type(record)]


Blob = Image | File


def fields_of(record: Record) -> dict[str, Any]:
    """Return the fields that differ from their defaults, as plain values; floats and integers stay exact."""
    fields = record.model_dump(exclude_defaults=True)
    return fields | {"schema_version": record.schema_version} if isinstance(record, Head) else fields


def record_of(letter: str, fields: Mapping[str, Any], tree_id: str, version: int = SCHEMA_VERSION) -> Record:
    """Return the record of which `fields_of` returned `fields`.

    Args:
        letter: the letter of its kind.
        fields: the fields as stored.
        tree_id: the id of its tree.
        version: the schema version of the tree's head.

    Raises:
        StoreError: a newer version wrote the record, or it is damaged.
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
    """Return the schema version of a stored head; version 1 did not store it."""
    return int(head.get("schema_version", 1))


def require_readable(version: int, tree_id: str) -> None:
    """Check that records of this schema version can be read.

    Raises:
        StoreError: the version is newer than `SCHEMA_VERSION`.
    """
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"tree {tree_id!r} was written by a newer critic_loop (record schema {version}); "
            f"this one reads up to {SCHEMA_VERSION}.",
            hint="Upgrade critic_loop.",
        )


def messages_of(record: Record) -> Iterator[Message]:
    """Yield the messages of a record."""
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
    """Yield the images and files of a record."""
    for message in messages_of(record):
        yield from message.blobs


def with_bytes(record: Record, find: Callable[[str], bytes | None]) -> Record:
    """Return `record` with the bytes of its images and files filled in.

    Args:
        record: not mutated.
        find: returns the bytes for a SHA-256 in hex; None where they are not stored.
    """
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
    """Return `feedback` with an id that no run assigns, ready to be added to a stored tree.

    Args:
        attempt_id: an attempt, or another feedback: the subject, unless `feedback` has one.
        feedback: not mutated.
        suffix: makes the id unique.

    Raises:
        ConfigError: `feedback` has no author; a store is append-only, so it could not be added later.
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


def require_present(feedback: Feedback, ids: TreeIds) -> None:
    """Check that everything `feedback` refers to is in the tree.

    Raises:
        NoSuchAttempt: an id is not.
    """
    missing = ids.missing(feedback)
    if missing:
        raise NoSuchAttempt(f"tree {tree_of(feedback.id)!r} has no {', '.join(map(repr, missing))}")


def check_heads(tree_id: str, records: tuple[Record, ...], *, exists: bool) -> None:
    """Check that the first of `records` is the head of a new tree, or that there is no head in an existing one.

    Raises:
        StoreError: neither is the case.
    """
    first = records[0] if records else None
    if any(isinstance(record, Head) for record in records[1:]) or (exists and isinstance(first, Head)):
        raise StoreError(f"tree {tree_id!r} has a head already")
    if isinstance(first, Head) and first.tree != tree_id:
        raise StoreError(f"the head of tree {first.tree!r} was given for tree {tree_id!r}")
    if not exists and not isinstance(first, Head):
        raise NoSuchTree(f"there is no tree {tree_id!r}: a new tree's first record is its head")


def title_of(head: Head) -> str:
    """Return the first line of a task's text, shortened and printable."""
    return excerpt(next(iter(head.task.text.strip().splitlines()), ""), 100)
