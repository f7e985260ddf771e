"""The test server's `/v1/messages`, seen through the official client."""

import pytest

from critic_loop.testing import Fault, Reply, TestServer
from critic_loop.testing.messages_replies import signature_of

anthropic = pytest.importorskip("anthropic", reason="needs the official client: pip install anthropic")
pytestmark = pytest.mark.anyio

HI = [{"role": "user", "content": "hi there"}]
TOOL = {"name": "look", "input_schema": {"type": "object", "properties": {"where": {"type": "string"}}}}
ASKED = {"model": "claude", "max_tokens": 100, "messages": HI}


def client(server, key="k"):
    url = server.url.removesuffix("/v1")
    return anthropic.AsyncAnthropic(api_key=key, base_url=url, max_retries=0)


async def test_it_gets_text_thoughts_tool_calls_and_usage():
    reply = Reply(reasoning="hm", text="Looking.", tool_calls=(("look", '{"where": "here"}'),))
    async with TestServer([reply]) as server, client(server) as api:
        got = await api.messages.create(**ASKED, tools=[TOOL])
    assert [block.type for block in got.content] == ["thinking", "text", "tool_use"]
    assert got.content[0].signature == signature_of("hm")
    assert got.content[2].input == {"where": "here"}
    assert got.stop_reason == "tool_use"
    assert (got.usage.input_tokens, got.usage.cache_read_input_tokens) == (1, 1)
    assert got.usage.output_tokens_details.thinking_tokens == 1
    assert got._request_id == "req-1"


async def test_it_streams_to_the_same_message():
    reply = Reply(reasoning="hm so", text="Looking there.", tool_calls=(("look", '{"where": "here"}'),))
    async with TestServer([reply, reply]) as server, client(server) as api:
        whole = await api.messages.create(**ASKED)
        async with api.messages.stream(**ASKED) as stream:
            pieces = [text async for text in stream.text_stream]
            streamed = await stream.get_final_message()
    assert "".join(pieces) == "Looking there."
    assert [b.to_dict() for b in streamed.content[:2]] == [b.to_dict() for b in whole.content[:2]]
    assert streamed.content[2].input == {"where": "here"}
    assert streamed.stop_reason == "tool_use"
    assert streamed.usage.output_tokens == whole.usage.output_tokens


async def test_a_conversation_with_tools_and_thoughts_goes_on():
    first = Reply(reasoning="hm", tool_calls=(("look", "{}"),))
    async with TestServer([first, "done"]) as server, client(server) as api:
        said = await api.messages.create(**ASKED, tools=[TOOL])
        result = {"type": "tool_result", "tool_use_id": said.content[1].id, "content": "a cat"}
        messages = [
            *HI,
            {"role": "assistant", "content": said.content},
            {"role": "user", "content": [result]},
        ]
        got = await api.messages.create(**ASKED | {"messages": messages})
    assert got.content[0].text == "done"


async def test_schemas_and_forced_tools_are_followed():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    async with TestServer() as server, client(server) as api:
        form = {"format": {"type": "json_schema", "schema": schema}}
        typed = await api.messages.create(**ASKED, output_config=form)
        forced = await api.messages.create(**ASKED, tools=[TOOL], tool_choice={"type": "any"})
    assert '"n"' in typed.content[0].text
    assert forced.content[0].name == "look"


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("rate_limit", "RateLimitError"), ("server_error", "InternalServerError"),
        ("auth", "AuthenticationError"), ("forbidden", "PermissionDeniedError"),
        ("bad_request", "BadRequestError"), ("context", "BadRequestError"), ("credit", "BadRequestError"),
        ("unknown_model", "NotFoundError"),
        ("unavailable", "OverloadedError"), ("drop", "APIConnectionError"),
    ],
)  # fmt: skip
async def test_it_knows_the_faults(kind, error):
    expected = getattr(anthropic, error, anthropic.APIStatusError)
    async with TestServer(faults=[Fault(kind)]) as server, client(server) as api:
        with pytest.raises(expected) as raised:
            await api.messages.create(**ASKED)
    if isinstance(raised.value, anthropic.APIStatusError):
        assert raised.value.body["type"] == "error"


async def test_a_refusal_is_a_stop_reason_and_a_key_is_asked_for():
    async with TestServer(faults=[Fault("refusal")], key="k") as server, client(server) as api:
        got = await api.messages.create(**ASKED)
        assert got.stop_reason == "refusal"
        assert [model.id async for model in api.models.list()] == ["test"]
        async with client(server, "wrong") as other:
            with pytest.raises(anthropic.AuthenticationError):
                await other.messages.create(**ASKED)
