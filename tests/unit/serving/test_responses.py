"""Answers in both wire formats: what a response holds, and that its stream adds up to it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from critic_loop.core.messages import ToolCall
from critic_loop.core.records import Usage
from critic_loop.serving.answer import Answer, Token, words_of
from critic_loop.serving.chat_responses import ChatResponse
from critic_loop.serving.messages_responses import MessageResponse

USAGE = Usage(input_tokens=10, cached_input_tokens=4, output_tokens=6, reasoning_tokens=2)
CALL = ToolCall(id="c1", name="add", arguments={"a": 1, "b": [2, 3, 4]})
ANSWERS = {
    "text": Answer(text="The sum  is\n42."),
    "reasoning": Answer(text="42", reasoning="six times seven", signature="sig"),
    "refusal": Answer(refusal="I cannot help."),
    "tool": Answer(text="I add.", tool_calls=(CALL,), finish_reason="tool_calls"),
    "cut": Answer(text="The sum", finish_reason="length"),
}


def chat(answer: Answer, **request: Any) -> ChatResponse:
    prompt = [Token(text="Add", id=7), Token(text=" up", id=8, logprob=-0.5, rank=2)]
    return ChatResponse(
        request={"model": "m", **request}, answers=[answer], id="id", created=1, usage=USAGE, prompt=prompt
    )


@pytest.mark.parametrize("name", ANSWERS)
def test_the_chunks_of_a_chat_response_add_up_to_the_whole(name: str) -> None:
    answer = ANSWERS[name]
    message: dict[str, Any] = {}
    arguments, ended = "", None
    for chunk in chat(answer).chunks():
        (choice,) = chunk["choices"]
        delta = dict(choice["delta"])
        for call in delta.pop("tool_calls", ()):
            arguments += call["function"]["arguments"]
        for key, value in delta.items():
            message[key] = value if key == "role" else message.get(key, "") + value
        ended = choice["finish_reason"] or ended
    whole = chat(answer).whole()["choices"][0]
    expected = {
        key: value for key, value in whole["message"].items() if key != "tool_calls" and value is not None
    }
    assert {key: value for key, value in message.items() if value or expected.get(key)} == expected
    assert ended == whole["finish_reason"]
    if answer.tool_calls:
        assert orjson.loads(arguments) == CALL.arguments


def test_token_fields_are_in_a_chat_response_only_where_the_request_wants_them() -> None:
    tokens = (
        Token(text="4", id=1, logprob=-0.1, top=(("4", -0.1), ("5", -2.0))),
        Token(text="2", id=2, logprob=-0.2),
    )
    answer = Answer(text="42", tokens=tokens)
    plain = chat(answer).whole()
    assert plain["choices"][0]["logprobs"] is None
    assert not {"prompt_token_ids", "prompt_logprobs"} & plain.keys()
    assert "token_ids" not in plain["choices"][0]
    wanted = chat(answer, return_token_ids=True, logprobs=True, top_logprobs=1, prompt_logprobs=0).whole()
    assert wanted["prompt_token_ids"] == [7, 8]
    assert wanted["prompt_logprobs"] == [None, {"8": {"logprob": -0.5, "rank": 2, "decoded_token": " up"}}]
    assert wanted["choices"][0]["token_ids"] == [1, 2]
    one, two = wanted["choices"][0]["logprobs"]["content"]
    assert [top["token"] for top in one["top_logprobs"]] == ["4"]
    assert (two["token"], two["logprob"], two["top_logprobs"]) == ("2", -0.2, [])


def test_a_chat_stream_ends_with_its_usage_only_where_the_request_wants_it() -> None:
    assert all("usage" not in chunk for chunk in chat(ANSWERS["text"]).chunks())
    *_, last = chat(ANSWERS["text"], stream_options={"include_usage": True}).chunks()
    assert last["choices"] == []
    assert last["usage"] == {
        "prompt_tokens": 10,
        "completion_tokens": 6,
        "total_tokens": 16,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }


@pytest.mark.parametrize("name", ANSWERS)
def test_the_events_of_a_message_add_up_to_the_whole(name: str) -> None:
    response = MessageResponse(request={"model": "m"}, answer=ANSWERS[name], id="id", usage=USAGE)
    blocks: list[dict[str, Any]] = []
    pieces, ended = "", None
    for event in response.events():
        match event["type"]:
            case "content_block_start":
                blocks.append(dict(event["content_block"]))
                pieces = ""
            case "content_block_delta":
                delta = dict(event["delta"])
                pieces += delta.pop("partial_json", "")
                del delta["type"]
                for key, value in delta.items():
                    blocks[-1][key] += value
            case "content_block_stop" if blocks[-1]["type"] == "tool_use":
                blocks[-1]["input"] = orjson.loads(pieces)
            case "message_delta":
                ended = event["delta"]["stop_reason"]
            case _:
                pass
    whole = response.whole()
    assert blocks == whole["content"]
    assert ended == whole["stop_reason"]
    assert ended == {"refusal": "refusal", "tool": "tool_use", "cut": "max_tokens"}.get(name, "end_turn")


def test_cached_input_is_billed_apart_in_a_message() -> None:
    usage = MessageResponse(request={}, answer=ANSWERS["text"], id="id", usage=USAGE).whole()["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (6, 4, 6)


def test_the_words_of_a_text_are_the_text() -> None:
    assert "".join(words_of("  two  words\n")) == "  two  words\n"
