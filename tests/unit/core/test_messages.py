"""Messages: typed parts, bytes by their hash."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

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

CALL = ToolCall(id="1", name="grep", arguments={"q": "x"}, arguments_text='{"q": "x"}')
PARTS = (
    Text(text="a"),
    Image.of(b"\x89PNG", "image/png"),
    File(sha256="0" * 64, media_type="text/plain", name="a.txt"),
    CALL,
    ToolResult.of("none", call_id="1", name="grep", is_error=True),
    Reasoning(text="hm"),
    Opaque(provider="p", data={"x": [1, None]}),
    Text(text="b"),
)


def test_what_a_message_holds() -> None:
    message = Message(role="assistant", parts=PARTS)
    assert message.text == "ab"
    assert message.tool_calls == (CALL,)
    assert message.blobs == PARTS[1:3]
    assert not message.sampled


def test_ways_to_write_one() -> None:
    assert system("a") == Message(role="system", parts=(Text(text="a"),))
    assert user("a", PARTS[1], "b") == Message(role="user", parts=(Text(text="a"), PARTS[1], Text(text="b")))
    assert assistant(CALL, sampled=True) == Message(role="assistant", parts=(CALL,), sampled=True)


def test_parts_always_say_what_they_are() -> None:
    message = Message(role="assistant", parts=PARTS)
    for short in (True, False):
        written = json.loads(message.model_dump_json(exclude_defaults=short))
        assert [part["type"] for part in written["parts"]] == [part.type for part in PARTS]
        read = Message.model_validate(written)
        assert read.model_dump() == message.model_dump()


def test_bytes_are_known_by_their_hash_and_never_written() -> None:
    data = b"\x00\xff" * 10
    part = File.of(data, "application/x")
    assert part.sha256 == hashlib.sha256(data).hexdigest()
    assert part.data == data
    assert "data" not in part.model_dump()
    assert "data" not in repr(part)
    assert File.model_validate(part.model_dump()).data is None
    assert (
        Image.model_validate_json('{"sha256": "%s", "media_type": "x", "data": "AP8="}' % ("0" * 64)).data
        == b"\x00\xff"
    )


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("a.png", "image/png"), ("a.txt", "text/plain"), ("a.unheard", "application/octet-stream")],
)
def test_files_are_read(tmp_path: Path, name: str, media_type: str) -> None:
    (tmp_path / name).write_bytes(b"abc")
    part = Image.read(tmp_path / name)
    assert part == Image.of(b"abc", media_type)
    assert Image.read(str(tmp_path / name)) == part


@pytest.mark.parametrize("sha256", ["", "0" * 63, "G" * 64, "A" * 64])
def test_hashes_are_checked(sha256: str) -> None:
    with pytest.raises(ValidationError):
        Image(sha256=sha256, media_type="image/png")


def test_what_is_no_message() -> None:
    for wrong in (
        {"role": "robot", "parts": []},
        {"role": "user", "parts": [{"type": "sound"}]},
        {"role": "user", "parts": [{"text": "a"}]},
        {"role": "user", "parts": [{"type": "text", "text": "a", "more": 1}]},
    ):
        with pytest.raises(ValidationError):
            Message.model_validate(wrong)
