import pytest

from critic_loop.core.messages import user
from critic_loop.core.protocols import Request

KEY = "sk-very-secret-0123456789"


def ask(text="hi", **fields):
    return Request(messages=(user(text),), **fields)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """No key, address or proxy of the machine reaches a test; CHAT_API_KEY is known."""
    for name in (
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "OLLAMA_HOST",
        "VLLM_API_KEY",
        "HTTP_PROXY",
        "http_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CHAT_API_KEY", KEY)


@pytest.fixture
def key():
    return KEY
