import pytest

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
from critic_loop.core.protocols import ToolSpec
from critic_loop.export.chat import ChatFormat, Unfit, images_column, images_in, tool_columns

CALL = ToolCall(id="1", name="add", arguments={"a": 3, "b": [4]}, arguments_text='{"a":3,"b":[4]}')


def test_text_is_a_plain_string():
    message = Message(role="user", parts=(Text(text="a"), Text(text="b")))
    assert ChatFormat().write([system("s"), message]) == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "ab"},
    ]


def test_tool_calls_carry_their_arguments_as_an_object():
    assert ChatFormat().write([assistant("I add.", CALL)]) == [
        {
            "role": "assistant",
            "content": "I add.",
            "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": {"a": 3, "b": [4]}}}],
        }
    ]


def test_each_tool_result_is_a_message_of_its_own():
    results = (ToolResult.of("7", call_id="1", name="add"), ToolResult.of("1", call_id="2", name="sub"))
    assert ChatFormat().write([Message(role="tool", parts=results)]) == [
        {"role": "tool", "name": "add", "content": "7"},
        {"role": "tool", "name": "sub", "content": "1"},
    ]


def test_reasoning_is_kept_only_if_asked_for():
    message = assistant(Reasoning(text="hm"), "7", Opaque(provider="p", data={"signature": "x"}))
    assert ChatFormat().write([message]) == [{"role": "assistant", "content": "7"}]
    assert ChatFormat(thinking=True).write([message, assistant("8")]) == [
        {"role": "assistant", "content": "7", "thinking": "hm"},
        {"role": "assistant", "content": "8"},
    ]


def test_pictures_are_places_in_the_content_and_bytes_beside_it():
    picture = Image.of(b"png", "image/png")
    messages = [user("See", picture, "this"), assistant("Red.")]
    assert ChatFormat(parts=True).write(messages) == [
        {
            "role": "user",
            "content": [{"type": "text", "text": "See"}, {"type": "image"}, {"type": "text", "text": "this"}],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "Red."}]},
    ]
    assert images_in(messages) == (picture,)
    assert images_column([picture]) == [{"path": f"images/{picture.sha256}.png", "bytes": None}]


@pytest.mark.parametrize(
    "message",
    [
        user(File.of(b"x", "application/pdf")),
        assistant(ToolCall(id="1", name="add", arguments=None, arguments_text="{a:")),
    ],
)
def test_what_cannot_be_expressed_is_refused_not_dropped(message):
    with pytest.raises(Unfit):
        ChatFormat().write([message])


def test_reasoning_takes_no_place_among_parts():
    message = assistant(Reasoning(text="hm"), "7")
    assert ChatFormat(parts=True).write([message]) == [
        {"role": "assistant", "content": [{"type": "text", "text": "7"}]}
    ]


def test_a_picture_without_bytes_is_refused():
    with pytest.raises(Unfit):
        images_in([user(Image(sha256="0" * 64, media_type="image/png"))])


def test_tools_are_schemas_or_a_note():
    spec = ToolSpec(name="add", description="Adds.")
    columns, notes = tool_columns([assistant(CALL)], [spec])
    assert columns == {
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "add",
                    "description": "Adds.",
                    "parameters": {"type": "object", "properties": {}},
                },
            }
        ]
    }
    assert notes == ()
    assert tool_columns([assistant("no call")], [spec]) == ({}, ())
    columns, notes = tool_columns([assistant(CALL)], [])
    assert (columns, len(notes)) == ({}, 1)
    with pytest.raises(Unfit):
        tool_columns([assistant(CALL)], [ToolSpec(name="sub")])
