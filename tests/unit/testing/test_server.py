"""The test server, as the official client, a plain client and a killed process see it."""

import asyncio
import json
import subprocess
import sys

import httpx
import openai
import pytest

from critic_loop.core.messages import ToolCall, assistant
from critic_loop.testing import Fault, Reply, TestServer

pytestmark = pytest.mark.anyio

HI = [{"role": "user", "content": "hi"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {
            "type": "object",
            "properties": {"where": {"type": "string"}, "deep": {"type": "boolean"}},
        },
    },
}


def client(server, key="k"):
    return openai.AsyncOpenAI(api_key=key, base_url=server.url, max_retries=0)


# -- the official client ---------------------------------------------------------------------------


async def test_the_official_client_gets_text_choices_and_usage():
    async with TestServer([["one", "two"]]) as server, client(server) as api:
        got = await api.chat.completions.create(model="test", messages=HI, n=2)
    assert [choice.message.content for choice in got.choices] == ["one", "two"]
    assert got.usage.prompt_tokens == 1
    assert got.usage.prompt_tokens_details.cached_tokens == 0


async def test_the_official_client_streams():
    async with TestServer(["some streamed words"]) as server, client(server) as api:
        stream = await api.chat.completions.create(
            model="test", messages=HI, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "some streamed words"
    assert chunks[-1].usage.completion_tokens == 3
    assert chunks[-2].choices[0].finish_reason == "stop"


async def test_the_official_client_assembles_streamed_tool_calls():
    reply = assistant(ToolCall(id="x", name="look", arguments={"where": "a/rather/long/path"}))
    async with (
        TestServer([reply]) as server,
        client(server) as api,
        api.chat.completions.stream(model="test", messages=HI, tools=[TOOL]) as stream,
    ):
        final = await stream.get_final_completion()
    [call] = final.choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"where": "a/rather/long/path"}
    assert final.choices[0].finish_reason == "tool_calls"


async def test_the_official_client_gets_forced_tools_and_schemas():
    schema = {"type": "object", "properties": {"score": {"type": "integer", "minimum": 1, "maximum": 5}}}
    asked = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    choice = {"type": "function", "function": {"name": "look"}}
    async with TestServer() as server, client(server) as api:
        tool = await api.chat.completions.create(model="m", messages=HI, tools=[TOOL], tool_choice=choice)
        text = await api.chat.completions.create(model="m", messages=HI, response_format=asked)
    arguments = json.loads(tool.choices[0].message.tool_calls[0].function.arguments)
    assert isinstance(arguments["deep"], bool)
    assert 1 <= json.loads(text.choices[0].message.content)["score"] <= 5


async def test_the_official_client_gets_logprobs_and_models():
    async with TestServer(["two words"], models=["a", "b"]) as server, client(server) as api:
        got = await api.chat.completions.create(model="m", messages=HI, logprobs=True)
        listed = [model.id async for model in await api.models.list()]
    assert [entry.token for entry in got.choices[0].logprobs.content] == ["two", " words"]
    assert listed == ["a", "b"]


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("rate_limit", openai.RateLimitError),
        ("server_error", openai.InternalServerError),
        ("auth", openai.AuthenticationError),
        ("context", openai.BadRequestError),
        ("unknown_model", openai.NotFoundError),
        ("bad_request", openai.BadRequestError),
        ("drop", openai.APIConnectionError),
        ("cut", openai.APIError),
    ],
)
async def test_the_official_client_knows_the_faults(kind, error):
    async with TestServer(faults=[Fault(kind)]) as server, client(server) as api:
        with pytest.raises(error):
            await api.chat.completions.create(model="m", messages=HI)


async def test_a_key_is_asked_for():
    async with TestServer(key="right") as server, client(server, "wrong") as api:
        with pytest.raises(openai.AuthenticationError):
            await api.chat.completions.create(model="m", messages=HI)
        with pytest.raises(openai.AuthenticationError):
            await api.models.list()
    assert server.requests == []


# -- replies and faults ----------------------------------------------------------------------------


async def post(server, content="hi", headers=None, **fields):
    async with httpx.AsyncClient(trust_env=False) as http:
        body = {"model": "m", "messages": [{"role": "user", "content": content}], **fields}
        return await http.post(f"{server.url}/chat/completions", json=body, headers=headers)


def text_of(response):
    return response.json()["choices"][0]["message"]["content"]


async def test_hashed_replies_depend_on_the_content_alone():
    async with TestServer(reply_bytes=4096) as server:
        first, again, other = [await post(server, content) for content in ("a", "a", "b")]
    assert text_of(first) == text_of(again) != text_of(other)
    assert len(text_of(first)) == 4096
    assert sorted(server.log.counts.values()) == [1, 2]


async def test_equal_content_has_one_digest_streamed_or_not():
    async with TestServer() as server:
        await post(server)
        await post(server, stream=True, stream_options={"include_usage": True})
    assert len({received.digest for received in server.requests}) == 1


async def test_token_ids_match_their_logprobs():
    async with TestServer(["three small words"]) as server:
        response = await post(server, "a b", return_token_ids=True, logprobs=True)
    body = response.json()
    assert len(body["prompt_token_ids"]) == 2
    assert len(body["choices"][0]["token_ids"]) == len(body["choices"][0]["logprobs"]["content"]) == 3


async def test_functions_answer_and_may_wait():
    async def handler(received):
        await asyncio.sleep(0)
        return f"{received.number}: {received.text}"

    async with TestServer(handler) as server:
        assert text_of(await post(server, "hi")) == "1: hi"


async def test_faults_stand_among_replies():
    async with TestServer(["one", Fault("unavailable", retry_after_s=2), Reply(text="two")]) as server:
        statuses = [(await post(server)).status_code for _ in range(4)]
    assert statuses == [200, 503, 200, 500]  # the script is empty at last


async def test_a_header_asks_for_a_fault():
    async with TestServer() as server:
        response = await post(server, headers={"X-Fault": "rate_limit;0.5"})
    assert (response.status_code, response.headers["Retry-After"]) == (429, "0.5")


async def test_faults_are_added_and_cleared_while_it_runs():
    async with TestServer() as server, httpx.AsyncClient(trust_env=False) as http:
        root = server.url.removesuffix("/v1")
        await http.post(f"{root}/faults", json={"kind": "server_error", "times": 3})
        first = (await post(server)).status_code
        await http.delete(f"{root}/faults")
        second = (await post(server)).status_code
        counts = (await http.get(f"{root}/counts")).json()
    assert (first, second) == (500, 200)
    assert counts["requests"] == 2
    assert list(counts["counts"].values()) == [2]


async def test_unknown_faults_are_refused():
    with pytest.raises(ValueError, match="write one of auth"):
        Fault.parse("nonsense")


async def test_the_log_shows_what_a_killed_client_left_behind(tmp_path):
    log = tmp_path / "log.jsonl"
    arrived = asyncio.Event()

    def faults(received):
        if received.text == "b":
            arrived.set()
        return {"b": Fault("hang"), "c": Fault("server_error")}.get(received.text)

    async with TestServer(faults=faults, log=log) as server:
        await post(server, "a")
        hung = asyncio.create_task(post(server, "b"))
        await arrived.wait()
        hung.cancel()
        await asyncio.gather(hung, return_exceptions=True)
        await post(server, "c")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    events = sorted((line["number"], line["event"]) for line in lines)
    assert events == [
        (1, "arrived"), (1, "completed"),
        (2, "arrived"), (2, "dropped"),
        (3, "arrived"), (3, "fault:server_error"),
    ]  # fmt: skip


async def test_as_a_process_it_prints_its_address_and_logs(tmp_path):
    log = tmp_path / "log.jsonl"
    command = [sys.executable, "-m", "critic_loop.testing.server", "--log", str(log), "--reply-bytes", "100"]
    process = await asyncio.create_subprocess_exec(*command, "--key", "k", stdout=subprocess.PIPE)
    url = (await process.stdout.readline()).decode().strip()
    async with openai.AsyncOpenAI(api_key="k", base_url=url) as api:
        got = await api.chat.completions.create(model="m", messages=HI)
    process.kill()
    await process.communicate()
    assert len(got.choices[0].message.content) == 100
    assert [json.loads(line)["event"] for line in log.read_text().splitlines()] == ["arrived", "completed"]


def test_the_package_is_light():
    code = "import sys, critic_loop.testing; print([m for m in ('pytest', 'aiohttp') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there():
    from critic_loop import testing

    assert testing.__all__ == sorted(testing.__all__)
    assert all(hasattr(testing, name) for name in testing.__all__)
    with pytest.raises(AttributeError):
        _ = testing.nonsense
