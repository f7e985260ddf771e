"""Bytes are filled in wherever a message can stand."""

from __future__ import annotations

import pytest

from critic_loop.core.messages import File, Image, assistant, user
from critic_loop.core.records import (
    Attempt,
    Call,
    Choice,
    Event,
    Feedback,
    Head,
    Outcome,
    Place,
    Record,
    Reply,
    Task,
)
from critic_loop.store.rebuild import KIND_OF, blobs_of, letter_of, record_of, with_bytes

BARE = Image(sha256="a" * 64, media_type="image/png")
FILLED = BARE.model_copy(update={"data": b"bytes"})
OTHER = File.of(b"here", "text/plain")
PLACE = Place(subject=("t.1",), agent="a")


def records(picture: Image) -> list[Record]:
    message = user("see", picture, OTHER)
    return [
        Head(
            tree="t",
            task=Task(id="x", prompt=(message,)),
            recipe="r",
            recipe_digest="",
            key="k",
            created_at=0.0,
        ),
        Call(id="t.c1", place=PLACE, digest="d", request=(message, user("x")), binding="b", sent_at=0.0),
        Reply(call="t.c1", status="ok", choices=(Choice(message=assistant(picture, OTHER)),), ended_at=0.0),
        Attempt(id="t.1", messages=(message,)),
    ]


@pytest.mark.parametrize("number", range(4))
def test_bytes_are_filled_in(number: int) -> None:
    bare, filled = records(BARE)[number], records(FILLED)[number]
    assert with_bytes(bare, {BARE.sha256: b"bytes"}.get) == filled
    assert with_bytes(bare, {}.get) == bare, "unknown ones stay as they are"
    assert with_bytes(filled, {}.get) is filled
    assert tuple(blobs_of(filled)) == (FILLED, OTHER)


def test_other_records_have_none() -> None:
    for record in (Event(kind="stop", at=0.0), Outcome(), Feedback()):
        assert with_bytes(record, {}.get) is record


def test_letters_never_change() -> None:
    assert "".join(KIND_OF) == "hacrtpfueo"
    assert letter_of(Attempt(id="t.1", status="parked"), late=False) == "p"
    assert letter_of(Attempt(id="t.1"), late=False) == "t"
    assert letter_of(Feedback(), late=True) == "u"
    assert letter_of(Feedback(), late=False) == "f"
    for letter, kind in KIND_OF.items():
        assert letter in "pu" or letter_of(kind.model_construct(status="complete"), late=False) == letter
    assert record_of("o", {"stop": "x"}, "t") == Outcome(stop="x")
