"""Anthropic's Messages: what goes over the wire, what comes back, and that thoughts return as they were."""

import logging

import httpx
import orjson
import pytest

from critic_loop.core.errors import (
    AuthFailed,
    ContextOverflow,
    CreditExhausted,
    ModelError,
    RateLimited,
    Refused,
)
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
from critic_loop.core.records import Sampling
from critic_loop.models import ANTHROPIC, ChatModel, EndpointError, ModelSettings, NoSuchModel, resolve
from critic_loop.models.wire.anthropic_messages import Assembly, from_wire, to_wire
from critic_loop.models.wire.model_list import ListedModel
from critic_loop.testing import Fault, Reply, TestServer
from tests.unit.models.conftest import ask

pytestmark = pytest.mark.anyio

KEY = "sk-ant-api03-0123456789"
STRICT = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
LOOSE = {"type": "object", "properties": {"n": {"type": "integer"}}}


@pytest.fixture(autouse=True)
def anthropic_key(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)


def body(*messages, **fields):
    return to_wire(Request(messages=messages, **fields), name="claude", profile=ANTHROPIC)


def answer(*content, **fields):
    wire = {"content": list(content), "stop_reason": "end_turn", "usage": {}} | fields
    return from_wire(wire, profile=ANTHROPIC)


def made(url, **fields):
    return ChatModel("claude", url=url, profile=ANTHROPIC, **fields)


# -- requests --------------------------------------------------------------------------------------


def test_a_request_in_full():
    sampling = Sampling(
        temperature=0.5, top_p=0.9, max_tokens=7, stop=("END",), seed=3, extra={"metadata": {"user_id": "u"}}
    )
    tool = ToolSpec(name="look", description="Looks.", parameters=STRICT)
    asked = body(
        system("Be brief."), system("Be kind."), user("hi"), tools=(tool,),
        output=OutputSchema(name="N", schema=STRICT), sampling=sampling,
    )  # fmt: skip
    assert asked == {
        "model": "claude",
        "max_tokens": 7,
        "system": "Be brief.\n\nBe kind.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "tools": [{"name": "look", "description": "Looks.", "input_schema": STRICT, "strict": True}],
        "output_config": {"format": {"type": "json_schema", "schema": STRICT}},
        "temperature": 0.5,
        "top_p": 0.9,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u"},
    }


def test_what_cannot_be_enforced_is_left_to_the_prompt():
    asked = body(
        user("hi"), tools=(ToolSpec(name="t", parameters=LOOSE),), output=OutputSchema(name="N", schema=LOOSE)
    )
    assert asked["tools"] == [{"name": "t", "input_schema": LOOSE}]
    assert "output_config" not in asked


async def test_a_limit_is_always_set_by_the_sampling_else_the_settings_else_the_client():
    async with TestServer() as server:
        for extra, sampling in (
            ({}, {}),
            ({"max_tokens": 9000}, {}),
            ({"max_tokens": 9000}, {"max_tokens": 7}),
        ):
            model = made(server.url, settings=ModelSettings(extra=extra))
            await model.complete(ask(sampling=Sampling(**sampling)))
            await model.aclose()
    assert [received.body["max_tokens"] for received in server.requests] == [4096, 9000, 7]


async def test_effort_and_schema_share_a_field():
    asked = ask(
        output=OutputSchema(name="N", schema=STRICT), sampling=Sampling(extra={"output_config": {"x": 1}})
    )
    async with TestServer() as server:
        model = made(server.url, settings=ModelSettings(extra={"output_config": {"effort": "low"}}))
        await model.complete(asked)
        await model.aclose()
    form = {"type": "json_schema", "schema": STRICT}
    assert server.requests[0].body["output_config"] == {"effort": "low", "format": form, "x": 1}


def test_turns_of_one_side_become_one_and_tool_results_come_first():
    call = ToolCall(id="t1", name="look", arguments={"where": "here"})
    odd = ToolCall(id="t2", name="look", arguments_text="[1]")
    results = Message(role="tool", parts=(ToolResult.of("nothing", call_id="t1"),))
    failed = Message(role="tool", parts=(ToolResult.of("", call_id="t2", is_error=True),))
    asked = body(user("go"), assistant("", call, odd), results, failed, user("and?"))
    assert [m["role"] for m in asked["messages"]] == ["user", "assistant", "user"]
    assert asked["messages"][1]["content"] == [
        {"type": "tool_use", "id": "t1", "name": "look", "input": {"where": "here"}},
        {"type": "tool_use", "id": "t2", "name": "look", "input": {}},
    ]
    assert asked["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "t1", "content": "nothing"},
        {"type": "tool_result", "tool_use_id": "t2", "is_error": True},
        {"type": "text", "text": "and?"},
    ]


def test_pictures_and_documents_are_sent_as_bytes():
    parts = Image.of(b"png", "image/png"), File.of(b"%PDF", "application/pdf"), File.of(b"words", "text/csv")
    content = body(user("see", *parts))["messages"][0]["content"]
    assert content[1:] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "cG5n"}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
    ]
    with pytest.raises(ModelError, match="application/zip"):
        body(user(File.of(b"PK", "application/zip")))
    with pytest.raises(ModelError, match="not loaded"):
        body(user(Image.of(b"png", "image/png").model_copy(update={"data": None})))


def test_only_its_own_blocks_are_returned_to_it():
    mine = {"type": "redacted_thinking", "data": "xyz"}
    said = assistant(
        Reasoning(text="hm"),
        Opaque(provider="anthropic", data=mine),
        Opaque(provider="chat", data={"a": 1}),
        "yes",
    )
    content = body(user("q"), said)["messages"][1]["content"]
    assert content == [mine, {"type": "text", "text": "yes"}]


# -- answers ---------------------------------------------------------------------------------------


def test_an_answer_in_full():
    thinking = {"type": "thinking", "thinking": "let me see", "signature": "sig=="}
    searched = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    usage = {
        "input_tokens": 5, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 20,
        "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4},
    }  # fmt: skip
    got = answer(
        thinking, searched, {"type": "text", "text": "Looking."},
        {"type": "tool_use", "id": "t", "name": "look", "input": {"where": "here"}},
        stop_reason="tool_use", usage=usage, model="claude-1", id="msg_1",
    )  # fmt: skip
    (choice,) = got.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.sampled
    assert choice.message.parts == (
        Reasoning(text="let me see"), Opaque(provider="anthropic", data=thinking),
        Opaque(provider="anthropic", data=searched), Text(text="Looking."),
        ToolCall(id="t", name="look", arguments={"where": "here"}, arguments_text='{"where":"here"}'),
    )  # fmt: skip
    assert (got.usage.input_tokens, got.usage.cached_input_tokens) == (125, 100)
    assert (got.usage.output_tokens, got.usage.reasoning_tokens) == (9, 4)
    assert (got.raw_usage, got.model, got.request_id) == (usage, "claude-1", "msg_1")
    assert body(user("q"), choice.message)["messages"][1]["content"][:2] == [thinking, searched]


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"), ("pause_turn", "pause_turn"), ("refusal", "refusal"),
    ],
)  # fmt: skip
def test_stop_reasons(reason, finish):
    assert answer({"type": "text", "text": "x"}, stop_reason=reason).choices[0].finish_reason == finish


def test_what_stopped_a_text_is_known():
    got = answer({"type": "text", "text": "x"}, stop_reason="stop_sequence", stop_sequence="\n")
    assert got.choices[0].stopped_by == "\n"


def test_a_refusal_without_words_is_told_by_its_explanation():
    details = {"type": "refusal", "category": "cyber", "explanation": "It may do harm."}
    got = answer(stop_reason="refusal", stop_details=details)
    assert (got.text, got.choices[0].finish_reason) == ("It may do harm.", "refusal")
    assert answer(stop_reason="refusal", stop_details=None).text == ""


def test_a_message_of_which_nothing_can_be_sent_is_left_out():
    asked = body(user("one"), assistant("  ", Opaque(provider="chat", data={})), user("two"))
    assert [block["text"] for block in asked["messages"][0]["content"]] == ["one", "two"]
    assert len(asked["messages"]) == 1


def test_a_stream_is_put_together_to_the_same_body():
    text = {"type": "text", "text": "", "citations": None}
    cited = {"type": "char_location", "cited_text": "x"}
    events = [
        {"type": "message_start", "message": {"id": "m", "content": [], "usage": {"input_tokens": 3}}},
        {"type": "ping"},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}},
        {"type": "content_block_start", "index": 1, "content_block": text},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "one "}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "two"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "citations_delta", "citation": cited}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "of_a_later_version"}},
        {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "input": {}}},
        *({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": a}}
          for a in ("", '{"a"', ":1}")),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"},
         "usage": {"output_tokens": 8, "input_tokens": None}},
    ]  # fmt: skip
    assembly = Assembly()
    pieces = [assembly.add(orjson.dumps(event)) for event in events]
    assert not assembly.complete
    assembly.add(b'{"type": "message_stop"}')
    assert assembly.complete
    assert "".join(pieces) == "one two"
    assert assembly.body() == {
        "id": "m",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": "one two", "citations": [cited]},
            {"type": "tool_use", "input": {"a": 1}},
        ],
        "usage": {"input_tokens": 3, "output_tokens": 8},
        "stop_reason": "tool_use",
    }


# -- over a server ---------------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
async def test_thoughts_go_back_as_they_came(streamed):
    replies = [
        Reply(reasoning="I look first.", text="Wait.", tool_calls=(("look", '{"where": "here"}'),)),
        "done",
    ]
    pieces = []
    async with TestServer(replies, key=KEY) as server:
        model = made(server.url)
        on_text = pieces.append if streamed else None
        first = await model.complete(ask(on_text=on_text))
        (call,) = first.choices[0].message.tool_calls
        found = Message(role="tool", parts=(ToolResult.of("a cat", call_id=call.id),))
        conversation = (user("hi"), first.choices[0].message, found)
        second = await model.complete(Request(messages=conversation))
        await model.aclose()
    assert second.text == "done"  # the server refuses a thought whose signature does not fit
    assert pieces == (["Wait."] if streamed else [])
    assert first.request_id
    assert first.usage.reasoning_tokens == 3
    headers = server.requests[0].headers
    assert (headers["x-api-key"], headers["anthropic-version"]) == (KEY, "2023-06-01")
    assert "Authorization" not in headers


async def test_a_changed_thought_is_refused_by_the_test_server_too():
    changed = Opaque(provider="anthropic", data={"type": "thinking", "thinking": "other", "signature": "s"})
    async with TestServer() as server:
        model = made(server.url)
        with pytest.raises(EndpointError, match="Invalid `signature`"):
            await model.complete(Request(messages=(user("q"), assistant(changed, "a"), user("q"))))
        await model.aclose()


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("auth", AuthFailed), ("forbidden", AuthFailed), ("rate_limit", RateLimited),
        ("quota", CreditExhausted), ("credit", CreditExhausted), ("context", ContextOverflow),
        ("content_filter", Refused),
        ("refusal", Refused), ("unknown_model", NoSuchModel), ("server_error", EndpointError),
        ("unavailable", EndpointError), ("error_in_200", EndpointError), ("broken_json", EndpointError),
        ("empty", EndpointError), ("cut", EndpointError), ("drop", EndpointError),
    ],
)  # fmt: skip
@pytest.mark.parametrize("streamed", [False, True])
async def test_faults_have_types_and_show_no_key(kind, error, streamed):
    async with TestServer(faults=[Fault(kind, retry_after_s=2.5)], key=KEY) as server:
        model = made(server.url)
        with pytest.raises(error) as raised:
            await model.complete(ask(on_text=(lambda _: None) if streamed else None))
        await model.aclose()
    assert KEY not in f"{raised.value!r} {raised.value}"
    if kind in ("rate_limit", "unavailable"):
        assert raised.value.retry_after_s == 2.5


async def test_n_choices_are_n_requests_and_seeds_are_not_sent():
    async with TestServer(["a", "b", "c"]) as server:
        model = made(server.url)
        got = await model.complete(ask(choices=3, sampling=Sampling(seed=1)))
        await model.aclose()
    assert sorted(choice.message.text for choice in got.choices) == ["a", "b", "c"]
    assert len(server.requests) == 3
    assert not any({"seed", "n"} & request.body.keys() for request in server.requests)


async def test_fields_that_newer_models_refuse_are_left_out_and_this_is_told(caplog):
    said = [
        "`temperature` is deprecated for this model.",
        "This model does not support structured outputs.",
    ]
    seen = []

    def answered(request):
        seen.append(orjson.loads(request.content))
        if said:
            error = {"type": "invalid_request_error", "message": said.pop(0)}
            return httpx.Response(400, json={"type": "error", "error": error})
        wire = {"content": [{"type": "text", "text": "yes"}], "stop_reason": "end_turn", "usage": {}}
        return httpx.Response(200, json=wire)

    model = made("http://127.0.0.1", transport=lambda: httpx.MockTransport(answered))
    asked = ask(sampling=Sampling(temperature=0.0, seed=1), output=OutputSchema(name="N", schema=STRICT))
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            assert (await model.complete(asked)).text == "yes"
    await model.aclose()
    assert len(seen) == 4
    assert not {"temperature", "output_config"} & seen[-1].keys()
    for once in ("does not support temperature", "only the prompt asks for it", "takes no seeds"):
        assert caplog.text.count(once) == 1


async def test_a_schema_that_cannot_be_enforced_is_told_once(caplog):
    async with TestServer() as server:
        model = made(server.url)
        for _ in range(2):
            await model.complete(ask(output=OutputSchema(name="Loose", schema=LOOSE)))
        await model.aclose()
    assert caplog.text.count("cannot enforce the schema 'Loose'") == 1


async def test_a_spec_with_an_address_reads_the_key_from_the_environment():
    async with TestServer(["hello"], key=KEY, models=["claude"]) as server:
        model = resolve(f"anthropic:claude@{server.url}")
        assert (await model.complete(ask())).text == "hello"
        assert await made(f"{server.url}/messages").served() == (ListedModel(name="claude"),)
        await model.aclose()
    assert KEY not in f"{model!r} {model.spec}"
