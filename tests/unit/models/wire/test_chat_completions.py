"""Messages to wire and back, and what a request's body holds."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critic_loop.core.errors import ModelError
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
from critic_loop.core.protocols import OutputSchema, Request, ToolSpec
from critic_loop.core.records import Sampling, Usage
from critic_loop.models import GENERIC, OPENAI, VLLM, from_wire, messages_from_wire, messages_to_wire, to_wire
from critic_loop.models.wire.common import is_strict, merge, object_or_none
from critic_loop.models.wire.profiles import Profile

FULL = Profile(
    name="full", reasoning_field="reasoning", tool_result_name=True, opaque_fields=("thinking_blocks",)
)

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | words
objects = st.dictionaries(words, scalars | st.lists(scalars, max_size=3), max_size=3)
blobs = st.binary(min_size=1, max_size=40)


@st.composite
def tool_calls(draw):
    arguments = draw(objects)
    broken = draw(st.booleans())
    text = "{" if broken else orjson.dumps(arguments).decode()
    return ToolCall(
        id=draw(words), name=draw(words), arguments=None if broken else arguments, arguments_text=text
    )


texts = st.builds(Text, text=words)
images = st.builds(Image.of, blobs, st.just("image/png"))
files = st.builds(lambda d, n: File.of(d, "application/pdf").model_copy(update={"name": n}), blobs, words)


@st.composite
def asked(draw):
    """A system or user message: one text, or any parts with at least one blob."""
    role = draw(st.sampled_from(["system", "user"]))
    if draw(st.booleans()):
        return Message(role=role, parts=(draw(texts),))
    parts = [*draw(st.lists(texts | images | files, max_size=3)), draw(images | files)]
    return Message(role=role, parts=tuple(parts))


@st.composite
def answered(draw):
    parts = []
    if draw(st.booleans()):
        parts.append(Reasoning(text=draw(words)))
    if draw(st.booleans()):
        parts.append(Text(text=draw(words)))
    parts += draw(st.lists(tool_calls(), max_size=3))
    if draw(st.booleans()):
        parts.append(Opaque(provider="full", data={"thinking_blocks": [draw(words)]}))
    return Message(role="assistant", parts=tuple(parts))


@st.composite
def results(draw):
    part = ToolResult.of(draw(words), call_id=draw(words), name=draw(words))
    return Message(role="tool", parts=(part,))


@settings(deadline=None)
@given(st.lists(asked() | answered() | results(), max_size=5))
def test_messages_survive_the_wire(messages):
    wire = orjson.loads(orjson.dumps(messages_to_wire(messages, FULL)))
    assert messages_from_wire(wire, FULL) == tuple(messages)


def test_text_is_sent_as_a_string():
    wire = messages_to_wire([system("Be brief."), user("a", "b")])
    assert wire == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "ab"}]


def test_tool_results_of_one_message_are_messages_of_their_own():
    results = tuple(ToolResult.of(str(i), call_id=f"c{i}") for i in range(2))
    wire = messages_to_wire([Message(role="tool", parts=results)])
    assert wire == [{"role": "tool", "tool_call_id": f"c{i}", "content": str(i)} for i in range(2)]


def test_arguments_go_out_to_the_letter():
    call = ToolCall(id="c", name="f", arguments={"a": 1}, arguments_text='{ "a":1 }')
    [wire] = messages_to_wire([assistant(call)])
    assert wire["content"] is None
    assert wire["tool_calls"][0]["function"] == {"name": "f", "arguments": '{ "a":1 }'}


@pytest.mark.parametrize(
    ("text", "expected"), [("", {}), ('{"a": 1}', {"a": 1}), ("[1]", None), ("{", None), ("null", None)]
)
def test_arguments_are_an_object_or_none(text, expected):
    assert object_or_none(text) == expected


def test_reasoning_goes_back_only_where_the_profile_says_so():
    message = assistant(Reasoning(text="hm"), "yes")
    assert "reasoning" not in messages_to_wire([message], OPENAI)[0]
    assert messages_to_wire([message], VLLM)[0]["reasoning"] == "hm"


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_both_names_of_reasoning_are_read(field):
    [message] = messages_from_wire([{"role": "assistant", "content": "yes", field: "hm"}])
    assert message.parts == (Reasoning(text="hm"), Text(text="yes"))


def test_another_providers_block_is_shown_to_nobody():
    part = Opaque(provider="elsewhere", data={"thinking_blocks": [1]})
    assert messages_to_wire([assistant("yes", part)], FULL) == [{"role": "assistant", "content": "yes"}]


def test_an_image_without_bytes_says_what_to_do():
    part = Image(sha256="0" * 64, media_type="image/png")
    with pytest.raises(ModelError, match="not loaded"):
        messages_to_wire([user(part)])


def body(profile=GENERIC, **fields):
    return to_wire(Request(messages=(user("hi"),), **fields), name="m", profile=profile)


def test_a_plain_request_holds_nothing_that_was_not_asked_for():
    assert body() == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_sampling_is_spelled_as_the_profile_wants():
    sampling = Sampling(temperature=0.0, top_p=0.5, max_tokens=9, stop=("x",), seed=3, logprobs=True)
    common = {"temperature": 0.0, "top_p": 0.5, "stop": ["x"], "seed": 3, "logprobs": True}
    assert common.items() <= body(sampling=sampling).items()
    assert body(sampling=sampling)["max_tokens"] == 9
    assert body(OPENAI, sampling=sampling)["max_completion_tokens"] == 9


def test_extra_fields_pass_but_not_reserved_ones():
    assert body(sampling=Sampling(extra={"top_k": 5}))["top_k"] == 5
    assert body(VLLM, sampling=Sampling(extra={"return_token_ids": False}))["return_token_ids"] is False
    with pytest.raises(ModelError, match="messages"):
        body(sampling=Sampling(extra={"messages": []}))


OPEN = {"type": "object", "properties": {"a": {"type": "string"}}}
CLOSED = {**OPEN, "required": ["a"], "additionalProperties": False}


def test_schemas_are_strict_where_they_can_be():
    assert is_strict(CLOSED)
    assert not is_strict(OPEN)
    assert not is_strict({"type": "array", "items": OPEN})
    for schema, strict in ((OPEN, False), (CLOSED, True)):
        sent = body(output=OutputSchema(name="My critique!", schema=schema))["response_format"]
        assert sent["json_schema"] == {"name": "My_critique_", "schema": schema, "strict": strict}


@pytest.mark.parametrize(("profile", "strict"), [(GENERIC, (0, 0)), (OPENAI, (0, 1)), (VLLM, (1, 1))])
def test_tools_are_strict_as_the_profile_says(profile, strict):
    tools = tuple(ToolSpec(name=name, parameters=p) for name, p in (("open", OPEN), ("closed", CLOSED)))
    sent = body(profile, tools=tools)["tools"]
    assert tuple(int(tool["function"].get("strict", False)) for tool in sent) == strict


def test_an_endpoint_without_schemas_is_asked_for_json():
    profile = Profile(name="old", output="json_object")
    assert body(profile, output=OutputSchema(name="x", schema=OPEN))["response_format"] == {
        "type": "json_object"
    }
    assert "response_format" not in body(
        Profile(name="o", output=None), output=OutputSchema(name="x", schema={})
    )


ANSWER = {
    "id": "chatcmpl-1",
    "model": "m-2026",
    "prompt_token_ids": [1, 2],
    "metadata": {"weight_version": "7"},
    "choices": [
        {"index": 1, "message": {"role": "assistant", "content": "b"}, "finish_reason": "length"},
        {
            "index": 0,
            "message": {"role": "assistant", "content": "a"},
            "finish_reason": "stop",
            "token_ids": [5],
            "logprobs": {"content": [{"token": "a", "logprob": -0.5}]},
        },
    ],
    "usage": {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    },
}


@pytest.mark.parametrize(
    ("told", "stopped_by"),
    [({"stop_reason": "\n"}, "\n"), ({"matched_stop": "="}, "="), ({"stop_reason": 151645}, ""), ({}, "")],
)
def test_what_stopped_a_text_is_known_where_it_is_told(told, stopped_by):
    choice = {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop", **told}
    assert from_wire({"choices": [choice]}).choices[0].stopped_by == stopped_by


def test_an_answer_is_read_whole():
    completion = from_wire(ANSWER)
    first, second = completion.choices
    assert (first.message.text, first.token_ids, first.logprobs) == ("a", (5,), (-0.5,))
    assert (second.message.text, second.finish_reason, second.logprobs) == ("b", "length", None)
    assert completion.usage == Usage(
        input_tokens=10, cached_input_tokens=4, output_tokens=5, reasoning_tokens=2
    )
    assert (completion.model, completion.weight_version) == ("m-2026", "7")
    assert (completion.request_id, completion.prompt_token_ids) == ("chatcmpl-1", (1, 2))


def test_merged_answers_add_up():
    merged = merge([from_wire(ANSWER), from_wire(ANSWER)])
    assert len(merged.choices) == 4
    assert merged.usage.input_tokens == 20
    assert merged.raw_usage["prompt_tokens_details"]["cached_tokens"] == 8


def test_what_other_servers_send_is_read_too():
    wire = [
        {"role": "developer", "content": "Be brief."},
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "done"}]},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]},
    ]
    first, second, third, fourth = messages_from_wire(wire)
    assert first == system("Be brief.")
    assert second.tool_calls[0].arguments_text == '{"a":1}'
    assert third.parts[0].text == "done"
    assert fourth.parts[0].provider == "part:input_audio"


def test_pictures_from_elsewhere_are_not_fetched():
    wire = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://elsewhere/x.png"}}]}
    with pytest.raises(ValueError, match="data URLs"):
        messages_from_wire([wire])


def test_a_request_to_stream_asks_for_usage_where_it_is_known():
    assert body(on_text=print)["stream_options"] == {"include_usage": True}
    assert "stream_options" not in body(Profile(name="old", stream_usage=False), on_text=print)


def test_a_tool_says_what_it_does():
    [tool] = body(tools=(ToolSpec(name="f", description="Looks."),))["tools"]
    assert tool["function"]["description"] == "Looks."
