"""Streams as they come from different servers, and in any pieces."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from critic_loop.models import from_wire
from critic_loop.models.wire.stream import Assembly, Events
from critic_loop.testing.chat_replies import Reply, completion_body, completion_chunks

BODY = {
    "model": "m",
    "messages": [{"role": "user", "content": "a b c"}],
    "logprobs": True,
    "return_token_ids": True,
    "stream_options": {"include_usage": True},
}
texts = st.text(st.characters(codec="utf-8"), max_size=40)
replies = st.builds(
    Reply,
    text=texts,
    reasoning=texts,
    tool_calls=st.lists(st.tuples(st.just("f"), texts), max_size=2).map(tuple),
)


@given(st.lists(replies, min_size=1, max_size=3), st.integers(1, 50))
def test_a_stream_in_any_pieces_is_the_whole_answer(given_replies, size):
    chunks = completion_chunks(BODY, given_replies, number=1)
    raw = b": hello\r\n" + b"".join(b"data: " + orjson.dumps(c) + b"\n\n" for c in chunks) + b"data: [DONE]\n\n"
    events, assembly = Events(), Assembly()
    for start in range(0, len(raw), size):
        for event in events.feed(raw[start : start + size]):
            assembly.add(event)
    assert assembly.complete
    whole = from_wire(completion_body(BODY, given_replies, number=1))
    streamed = from_wire(assembly.body())
    assert streamed.choices == whole.choices
    assert (streamed.usage, streamed.prompt_token_ids) == (whole.usage, whole.prompt_token_ids)


def chunk(delta, **fields):
    return orjson.dumps({"choices": [{"index": 0, "delta": delta, **fields}]})


def test_a_stream_that_ends_without_a_reason_is_broken():
    assembly = Assembly()
    assert not assembly.complete
    assert assembly.add(chunk({"content": "a"})) == "a"
    assert not assembly.complete
    assembly.add(chunk({}, finish_reason="stop"))
    assert assembly.complete


def test_what_stopped_a_stream_is_kept():
    assembly = Assembly()
    assembly.add(chunk({"content": "a"}, finish_reason="stop", stop_reason="\n"))
    assembly.add(chunk({}))
    assert from_wire(assembly.body()).choices[0].stopped_by == "\n"


def test_token_ids_that_do_not_match_their_logprobs_are_not_trusted():
    assembly = Assembly()
    logprobs = {"content": [{"token": "a", "logprob": -1.0}]}
    assembly.add(chunk({"content": "a"}, token_ids=[1], logprobs=logprobs))
    assembly.add(chunk({"content": "b"}, logprobs=logprobs, finish_reason="stop"))
    assert assembly.body()["choices"][0]["token_ids"] is None


def test_a_providers_own_blocks_are_collected():
    assembly = Assembly()
    assembly.add(chunk({"reasoning_details": [{"text": "a"}]}))
    assembly.add(chunk({"reasoning_details": [{"text": "b"}], "role": "assistant"}))
    assert assembly.body()["choices"][0]["message"]["reasoning_details"] == [{"text": "a"}, {"text": "b"}]


def test_an_error_among_the_chunks_is_kept():
    assembly = Assembly()
    assembly.add(b'{ "error": {"message": "overloaded"}}')
    assert assembly.error is not None


def test_nonsense_is_no_chunk():
    with pytest.raises(ValueError, match="unexpected"):
        Assembly().add(b"{nonsense")
