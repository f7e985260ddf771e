"""LangChain chat models: as models with prompts, tools and records, and what travels through them."""

from __future__ import annotations

import logging
import socket
import threading
import urllib.request
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field, SecretStr

import critic_loop as cl
from critic_loop.core.errors import (
    AuthFailed,
    ConfigError,
    DeadlineExceeded,
    ModelError,
    RateLimited,
    Refused,
    Unreachable,
)
from critic_loop.core.messages import Image, Opaque, Reasoning, ToolCall, ToolResult, assistant, system, user
from critic_loop.core.protocols import OutputSchema, Request, ToolSpec
from critic_loop.core.records import Sampling
from critic_loop.graph.chat_models import LangChainModel
from critic_loop.graph.langchain import adapted
from critic_loop.models import EndpointError, resolve
from critic_loop.models.wrappers.breaker import cause_of
from critic_loop.testing import ScriptedModel

pytestmark = pytest.mark.anyio

KEY = "hunter2-hunter2"


class Chat(BaseChatModel):
    """Says what it was made with, and remembers what it was asked."""

    replies: list[Any] = Field(default_factory=list)
    temperature: float | None = None
    api_key: SecretStr = SecretStr(KEY)
    seen: list[Any] = Field(default_factory=list)
    counts_streams: bool = True

    @property
    def _llm_type(self) -> str:
        return "chat"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=tools, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._next(messages, stop, kwargs))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        whole = self._next(messages, stop, kwargs)
        for word in str(whole.text).split(" "):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word + " "))
        counted = whole.usage_metadata if self.counts_streams else None
        yield ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=counted))

    def _next(self, messages: list[BaseMessage], stop: Any, kwargs: dict[str, Any]) -> AIMessage:
        self.seen.append((messages, kwargs | ({"stop": stop} if stop else {})))
        reply = self.replies.pop(0) if self.replies else "so be it"
        if isinstance(reply, Exception):
            raise reply
        said = reply if isinstance(reply, AIMessage) else AIMessage(content=reply)
        said.usage_metadata = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
        return said


def ask(*messages: Any, **fields: Any) -> Request:
    return Request(messages=messages or (user("hi"),), **fields)


# -- in a loop -------------------------------------------------------------------------------------


async def test_a_chat_model_is_a_model_with_prompts_and_records() -> None:
    chat = Chat(replies=["41", "42"])
    critic = Chat(replies=["Count again.\nVerdict: wrong", "Verdict: correct"])
    loop = cl.Loop("refine", actor=chat, critic=critic, verifiers=[])
    result = await loop.run("What is 6 * 7?")
    assert result.answer == "42"
    calls = list(result.tree.calls.values())
    assert [call.binding for call in calls] == ["langchain:Chat"] * 4
    assert isinstance(critic.seen[0][0][0], SystemMessage)
    assert result.spend.usage.input_tokens == 20


async def test_swaps_slots_and_lists_take_it_too() -> None:
    chat = Chat(replies=["Verdict: correct"])
    loop = cl.Loop("refine", actor=ScriptedModel(["42"]), critic=[ScriptedModel([])], verifiers=[])
    await loop.swap("critic", chat, warm=False)
    assert (await loop.run("6 * 7?")).answer == "42"
    assert len(chat.seen) == 1
    cl.Loop("refine", actor=Chat(), critic=[Chat()], slots={"judge": Chat()})


async def test_tools_are_offered_and_called() -> None:
    def look(where: str) -> str:
        """Looks."""
        return f"a cat in the {where}"

    call = {"type": "tool_call", "id": "t1", "name": "look", "args": {"where": "box"}}
    chat = Chat(replies=[AIMessage(content="", tool_calls=[call]), "a cat"])
    critic = ScriptedModel(["Verdict: correct"])
    result = await cl.Loop("refine", actor=chat, critic=critic, tools=[look], verifiers=[]).run(
        "What is there?"
    )
    assert result.answer == "a cat"
    (first, options), (second, _) = chat.seen
    assert options["tools"][0]["function"]["name"] == "look"
    assert isinstance(first[-1], HumanMessage)
    assert second[-2].tool_calls[0]["args"] == {"where": "box"}
    assert second[-1].content == "a cat in the box"


# -- specs -----------------------------------------------------------------------------------------


def factory() -> Chat:
    return Chat()


INSTANCE = Chat()


def wrong() -> int:
    return 3


async def test_a_spec_names_a_factory_or_a_chat_model() -> None:
    for name in ("factory", "INSTANCE"):
        model = resolve(f"langchain:{__name__}:{name}")
        assert model.spec == f"langchain:{__name__}:{name}"
        assert (await model.complete(ask())).text == "so be it"


@pytest.mark.parametrize("path", ["wrong", "nothing"])
def test_a_wrong_spec_says_what_is_there(path: str) -> None:
    with pytest.raises(ConfigError, match="not a chat model" if path == "wrong" else "has no 'nothing'"):
        resolve(f"langchain:{__name__}:{path}")


def test_a_chat_model_is_named_by_what_it_is_and_never_by_its_key() -> None:
    class Named(Chat):
        model_name: str = "gpt"

    model = adapted(Named())
    assert isinstance(model, LangChainModel)
    assert model.spec == "langchain:Named:gpt"
    assert KEY not in f"{model!r}"
    assert adapted("chat:x@http://h") == "chat:x@http://h"


# -- what travels ----------------------------------------------------------------------------------


async def test_messages_of_every_kind() -> None:
    chat = Chat()
    said = assistant("", ToolCall(id="t", name="look", arguments={"a": 1}))
    results = ToolResult.of("gone", call_id="t", name="look", is_error=True)
    picture = user("see", Image.of(b"png", "image/png"))
    tool = said.model_copy(update={"role": "tool", "parts": (results,)})
    await LangChainModel(chat).complete(ask(system("s"), user("u"), said, tool, picture))
    first, second, third, fourth, fifth = chat.seen[0][0]
    assert (first.content, second.content) == ("s", "u")
    assert third.tool_calls == [{"type": "tool_call", "id": "t", "name": "look", "args": {"a": 1}}]
    assert isinstance(fourth, ToolMessage)
    assert (fourth.content, fourth.tool_call_id, fourth.status) == ("gone", "t", "error")
    assert fifth.content[1] == {"type": "image", "base64": "cG5n", "mime_type": "image/png"}


async def test_a_providers_own_blocks_go_back_as_they_came() -> None:
    blocks = [{"type": "thinking", "thinking": "hm", "signature": "s=="}, {"type": "text", "text": "yes"}]
    metadata = {"model_provider": "anthropic", "stop_reason": "max_tokens", "model_name": "claude", "id": "m1"}
    chat = Chat(replies=[AIMessage(content=blocks, response_metadata=metadata)])
    model = LangChainModel(chat)
    got = await model.complete(ask())
    (choice,) = got.choices
    assert (got.text, choice.finish_reason, got.model, got.request_id) == ("yes", "length", "claude", "m1")
    assert any(isinstance(part, Reasoning) and part.text == "hm" for part in choice.message.parts)
    assert any(isinstance(part, Opaque) for part in choice.message.parts)
    await model.complete(ask(user("hi"), choice.message, user("go on")))
    assert chat.seen[1][0][1].content == blocks


async def test_nothing_is_kept_of_a_provider_that_says_nothing_of_its_own() -> None:
    plain = AIMessage(content="yes", additional_kwargs={"refusal": None})
    got = await LangChainModel(Chat(replies=[plain])).complete(ask())
    assert [part.type for part in got.choices[0].message.parts] == ["text"]


async def test_arguments_that_are_no_object_are_kept_to_the_letter() -> None:
    invalid = {"type": "invalid_tool_call", "id": "t", "name": "look", "args": "{oops", "error": None}
    got = await LangChainModel(Chat(replies=[AIMessage(content="", invalid_tool_calls=[invalid])])).complete(
        ask()
    )
    (call,) = got.choices[0].message.tool_calls
    assert (call.arguments, call.arguments_text) == (None, "{oops")


async def test_sampling_that_a_chat_model_has_no_field_for_is_left_out_and_told(caplog: Any) -> None:
    chat = Chat()
    model = LangChainModel(chat)
    sampling = Sampling(temperature=0.0, max_tokens=9, seed=3, stop=("END",), extra={"k": 1})
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            await model.complete(ask(sampling=sampling, output=OutputSchema(name="N", schema={})))
    assert chat.seen[0][1] == {"temperature": 0.0, "stop": ["END"], "k": 1}
    for once in ("has no max_tokens", "has no seed", "the prompt alone asks for it"):
        assert caplog.text.count(once) == 1


async def test_a_stream_adds_up_and_one_that_does_not_count_is_asked_for_whole_answers(caplog: Any) -> None:
    chat = Chat(counts_streams=False)
    model = LangChainModel(chat)
    pieces: list[str] = []
    first = await model.complete(ask(on_text=pieces.append))
    assert first.usage.input_tokens == 0
    assert "".join(pieces) == first.text == "so be it "
    second = await model.complete(ask(on_text=pieces.append))
    assert second.usage.input_tokens == 5
    assert pieces[-1] == "so be it"
    assert caplog.text.count("reports no usage") == 1


class Failed(Exception):
    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"status {status} {body!r}")
        self.status_code = status
        self.response = type("Response", (), {"content": body, "headers": {"retry-after": "2"}})()


class APITimeoutError(ConnectionError):
    """As in the packages of OpenAI and Anthropic, where it is a kind of APIConnectionError."""


class ReadTimeout(Exception):
    """As in httpx, where it is no OSError."""


@pytest.mark.parametrize(
    "raised",
    [APITimeoutError("slow"), ReadTimeout("slow"), TimeoutError("slow"), ConnectionResetError("gone")],
)
async def test_an_answer_that_does_not_come_is_an_outage(raised: Exception) -> None:
    with pytest.raises(EndpointError) as caught:
        await LangChainModel(Chat(replies=[raised])).complete(ask())
    assert cause_of(caught.value) == "outage"


def _openai(url: str) -> Any:
    client = pytest.importorskip("openai").OpenAI(base_url=url, api_key="k", max_retries=0)
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])


def _anthropic(url: str) -> Any:
    client = pytest.importorskip("anthropic").Anthropic(base_url=url, api_key="k", max_retries=0)
    return client.messages.create(model="m", max_tokens=1, messages=[{"role": "user", "content": "hi"}])


def _urllib3(url: str) -> Any:
    return pytest.importorskip("urllib3").PoolManager(retries=False).request("GET", url)


def _wrapped(url: str) -> Any:
    try:
        httpx.get(url)
    except httpx.HTTPError as error:
        raise RuntimeError("the chain failed") from error


CLIENTS = {
    "httpx": httpx.get,
    "requests": lambda url: pytest.importorskip("requests").get(url, timeout=5),
    "urllib3": _urllib3,
    "urllib": urllib.request.urlopen,
    "openai": _openai,
    "anthropic": _anthropic,
    "wrapped": _wrapped,
}


def _raised(call: Callable[[str], Any], url: str) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # each client's own
        call(url)
    return caught.value


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_dead_server_is_unreachable_whatever_the_client_calls_it(client: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, and nobody listens
        error = _raised(CLIENTS[client], f"http://127.0.0.1:{closed.getsockname()[1]}")
    with pytest.raises(Unreachable, match=r"langchain:Chat.* cannot be reached .* Check the chat") as caught:
        await LangChainModel(Chat(replies=[error])).complete(ask())
    assert cause_of(caught.value) == "outage"


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_server_that_hangs_up_is_no_dead_one(client: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            server.accept()[0].close()

        hanging_up = threading.Thread(target=hang_up)
        hanging_up.start()
        error = _raised(CLIENTS[client], f"http://127.0.0.1:{server.getsockname()[1]}")
        hanging_up.join()
    with pytest.raises(EndpointError) as caught:
        await LangChainModel(Chat(replies=[error])).complete(ask())
    assert caught.value.transient


async def test_what_is_wrong_is_no_outage() -> None:
    wrong = ValueError("wrong")
    wrong.__cause__ = wrong  # as `raise error from error` leaves it
    with pytest.raises(EndpointError) as caught:
        await LangChainModel(Chat(replies=[wrong])).complete(ask())
    assert cause_of(caught.value) is None


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (Failed(401, b'{"error": {"message": "bad key hunter2-hunter2"}}'), AuthFailed),
        (Failed(429, b"{}"), RateLimited),
        (ValueError("what about hunter2-hunter2 or sk-abcdefgh?"), EndpointError),
        (ConnectionError("hunter2-hunter2 is gone"), Unreachable),
        (TimeoutError("its own"), EndpointError),
    ],
)
async def test_what_providers_raise_has_types_and_shows_no_key(raised: Exception, kind: type) -> None:
    with pytest.raises(ModelError) as caught:
        await LangChainModel(Chat(replies=[raised])).complete(ask())
    assert type(caught.value) is kind
    assert "hunter2" not in f"{caught.value!r}{caught.value}"
    assert "abcdefgh" not in str(caught.value)
    assert getattr(caught.value, "transient", None) in (None, isinstance(raised, OSError))


async def test_refusals_deadlines_and_missing_tools_are_told_apart() -> None:
    declined = AIMessage(content="", additional_kwargs={"refusal": "I cannot."})
    with pytest.raises(Refused, match="I cannot"):
        await LangChainModel(Chat(replies=[declined])).complete(ask())
    with pytest.raises(DeadlineExceeded):
        await LangChainModel(Chat()).complete(ask(timeout_s=1e-9))

    class Plain(Chat):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            raise NotImplementedError

    with pytest.raises(ModelError, match="cannot call tools"):
        await LangChainModel(Plain()).complete(ask(tools=(ToolSpec(name="t"),)))
