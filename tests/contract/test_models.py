"""The contract of models, over every model that needs no other machine."""

import pytest

from critic_loop.core.errors import RateLimited
from critic_loop.demo.model import embedded
from critic_loop.graph.chat_models import LangChainModel
from critic_loop.models import ANTHROPIC, VLLM, ChatModel, Limited, Retrying, RetryPolicy, resolve
from critic_loop.testing import Fault, ScriptedModel, TestServer
from critic_loop.testing.model_contract import ModelContract

KEY = "sk-contract-0123456789"


class TestScriptedModel(ModelContract):
    @pytest.fixture
    def model(self):
        return ScriptedModel(lambda request: f"You said: {request.messages[-1].text}", latency_s=0.001)

    @pytest.fixture
    def broken(self):
        return ScriptedModel([RateLimited("too many")])


class TestScriptedList(ModelContract):
    @pytest.fixture
    def model(self):
        return ScriptedModel(["first", "second"], cycle=True, latency_s=0.001)

    @pytest.fixture
    def broken(self):
        return ScriptedModel([])


class TestEmbeddedModel(ModelContract):
    prompt = "Countdown 24: 3 5 7 8"
    texts = ("8*3=24>5,7,24", "8+7=15>3,5,15\n")

    @pytest.fixture(autouse=True)
    def installed(self):
        pytest.importorskip("onnxruntime", reason="needs the extra: pip install 'critic-loop[demo]'")

    @pytest.fixture
    async def model(self):
        model = embedded("countdown")
        yield model
        await model.aclose()

    @pytest.fixture
    def broken(self):
        from critic_loop.demo.runtime import Runtime

        model = embedded("countdown")
        model._runtime = Runtime()
        model._runtime.close()
        return model


class TestLangChain(ModelContract):
    """Over a chat model of `langchain-core`."""

    @pytest.fixture
    def model(self):
        return LangChainModel(_chat("so be it"))

    @pytest.fixture
    def secret(self):
        return "sk-0123456789"

    @pytest.fixture
    def broken(self):
        return LangChainModel(_chat(RuntimeError("not with sk-0123456789")))


def _chat(reply):
    from langchain_core.language_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage

    def replies():
        while True:
            if isinstance(reply, Exception):
                raise reply
            usage = {"input_tokens": 3, "output_tokens": 3, "total_tokens": 6}
            yield AIMessage(content=reply, usage_metadata=usage)

    return GenericFakeChatModel(messages=replies())


class Served(ModelContract):
    """Over a server that asks for a key."""

    @pytest.fixture
    def secret(self, monkeypatch):
        for name in ("VLLM_API_KEY", "ANTHROPIC_API_KEY"):
            monkeypatch.setenv(name, KEY)
        return KEY

    @pytest.fixture
    async def server(self, secret):
        async with TestServer(key=secret) as server:
            yield server

    @pytest.fixture
    async def model(self, server):
        model = self.made(server.url)
        yield model
        await model.aclose()

    @pytest.fixture
    async def broken(self, secret):
        async with TestServer(faults=lambda _: Fault("auth")) as server:
            yield self.made(server.url)

    def made(self, url):
        raise NotImplementedError


class TestChatModel(Served):
    def made(self, url):
        return ChatModel("test", url=url, profile=VLLM)


class TestAnthropic(Served):
    def made(self, url):
        return ChatModel("test", url=url, profile=ANTHROPIC)


class TestRetrying(Served):
    def made(self, url):
        return Retrying(ChatModel("test", url=url, profile=VLLM), RetryPolicy(first_wait_s=0.01))


class TestRecipe(Served):
    def made(self, url):
        return resolve(f"loop:try-again@vllm:test@{url}")


class TestLimited(Served):
    def made(self, url):
        return Limited(ChatModel("test", url=url, profile=VLLM), 4)


del Served  # not a test itself
