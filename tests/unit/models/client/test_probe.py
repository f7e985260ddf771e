"""What endpoints can do: found out, kept, and openly taken into account."""

import asyncio
import logging
import time

import httpx
import orjson
import pytest

from critic_loop.core.errors import AuthFailed, ModelError, Unreachable
from critic_loop.core.messages import user
from critic_loop.core.protocols import OutputSchema, Request
from critic_loop.core.records import Sampling
from critic_loop.demo.chat import chat_prompt
from critic_loop.models import ANTHROPIC, GENERIC, VLLM, ChatModel, resolve
from critic_loop.models.client.findings import (
    Findings,
    age,
    folder,
    load_findings,
    path_of,
    save_findings,
    together,
    with_findings,
)
from critic_loop.models.client.probe import probe
from critic_loop.models.providers.specs import endpoint
from critic_loop.models.wire.health_check import HEALTH_CHECK
from critic_loop.testing import Fault, Reply, TestServer

pytestmark = pytest.mark.anyio

ALL = ("tools", "json_schema", "logprobs", "prompt_logprobs", "token_ids", "n", "seed", "images")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def can(findings):
    return {name: finding.can for name, finding in findings.found.items()}


async def probed(url, profile=GENERIC, **fields):
    model = ChatModel("test", url=url, profile=profile, **fields)
    try:
        return await probe(model)
    finally:
        await model.aclose()


async def test_a_server_that_can_do_everything():
    async with TestServer() as server:
        findings = await probed(server.url, VLLM)
    assert can(findings) == dict.fromkeys(ALL, True)
    assert len(server.requests) < 15


async def test_anthropics_format_has_no_field_for_most():
    async with TestServer() as server:
        findings = await probed(server.url, ANTHROPIC)
    expected = dict.fromkeys(ALL, False) | {"tools": True, "json_schema": True, "images": True}
    assert can(findings) == expected
    assert findings.found["seed"].text == "the format has no field for it"


async def test_a_server_that_ignores_what_it_does_not_know():
    async with TestServer(lambda _: [Reply(text="yes")]) as server:
        findings = await probed(server.url)
    assert can(findings) == {
        "tools": False, "json_schema": False, "logprobs": True, "prompt_logprobs": True, "token_ids": True,
        "n": False, "seed": None, "images": True,
    }  # fmt: skip
    assert findings.found["tools"].text == "answered without calling the tool"
    assert findings.found["n"].text == "1 came instead of 2"


def refusing(status=400, said="nothing of this is supported", plain="ok"):
    """A transport that refuses every request but a plain one."""

    def answered(request):
        body = orjson.loads(request.content)
        content = body["messages"][-1]["content"]
        if body.keys() - {"model", "messages", "max_tokens"} or not isinstance(content, str):
            return httpx.Response(status, json={"error": {"message": said}})
        choice = {"message": {"role": "assistant", "content": plain}, "finish_reason": "stop"}
        return httpx.Response(200, json={"choices": [choice]})

    return lambda: httpx.MockTransport(answered)


async def test_a_server_that_refuses_what_it_does_not_know():
    findings = await probed("http://127.0.0.1", transport=refusing())
    assert can(findings) == dict.fromkeys(ALL, False)
    assert "nothing of this is supported" in findings.found["images"].text


async def test_what_hangs_is_left(monkeypatch):
    monkeypatch.setattr("critic_loop.models.client.probe._TIMEOUT_S", 0.2)
    hangs = lambda received: Fault("hang") if "prompt_logprobs" in received.body else None  # noqa: E731
    async with TestServer(faults=hangs) as server, asyncio.timeout(5):
        findings = await probed(server.url, VLLM)
    assert findings.found["prompt_logprobs"].can is None
    assert "did not answer within" in findings.found["prompt_logprobs"].text


async def test_a_question_on_a_broken_connection_is_asked_once_more():
    """A server that answers 500 may close the connection on which the next question is sent."""
    sent = []

    def drops(received):
        fault = Fault("drop") if received.body.get("n") == 2 and not sent else None
        sent.extend([received] if fault else [])
        return fault

    async with TestServer(faults=drops) as server:
        findings = await probed(server.url, VLLM)
    assert sent
    assert findings.found["n"].can is True


async def test_trouble_is_no_finding():
    findings = await probed("http://127.0.0.1", transport=refusing(status=503, said="busy"))
    assert can(findings) == dict.fromkeys(ALL, None)


async def test_who_does_not_answer_is_not_probed():
    async with TestServer(faults=[Fault("auth")]) as server:
        with pytest.raises(AuthFailed):
            await probed(server.url)
    assert len(server.requests) == 1
    with pytest.raises(Unreachable):
        await probed("http://127.0.0.1:9")


# -- a chat template that refuses questions ----------------------------------------------------


def countdown_only(received):
    """Refuse what the chat template of the demo's model refuses."""
    try:
        chat_prompt([user(str(message["content"])) for message in received.body["messages"]])
    except ModelError:
        return Fault("bad_request")
    return None


async def test_every_question_passes_the_chat_template_of_the_demos_model():
    async with TestServer(faults=countdown_only) as server:
        assert can(await probed(server.url, VLLM)) == dict.fromkeys(ALL, True)
    async with TestServer(faults=countdown_only) as server:
        found = can(await probed(server.url, ANTHROPIC))
    assert found == dict.fromkeys(ALL, False) | {"tools": True, "json_schema": True, "images": True}


async def test_a_refused_question_says_nothing_of_the_capability(caplog):
    """It is unknown, is not kept, and no model made later is narrowed or warned about."""

    def other_questions(received):
        known = any(HEALTH_CHECK in str(message["content"]) for message in received.body["messages"])
        return None if known else Fault("bad_request")

    async with TestServer(faults=other_questions) as server:
        findings = await probed(server.url, VLLM)
        save_findings(findings)
        unknown = {name for name, finding in findings.found.items() if finding.can is None}
        assert unknown == {"tools", "json_schema", "seed"}
        assert "refused without it, too" in findings.found["seed"].text
        assert load_findings("vllm", server.url, "test").found.keys() == set(ALL) - unknown
        assert with_findings(VLLM, server.url, "test") == findings.applied(VLLM)
        assert with_findings(VLLM, server.url, "test").output == VLLM.output
    assert not caplog.records


async def test_a_refusal_of_so_many_tokens_says_nothing_of_the_capability():
    def short(received):
        return Fault("bad_request") if received.body.get("max_completion_tokens", 0) > 16 else None

    async with TestServer(faults=short) as server:
        found = can(await probed(server.url, VLLM))
    assert found == dict.fromkeys(ALL, True) | {"tools": None, "json_schema": None, "seed": None}


async def test_a_pool_with_a_server_of_which_a_capability_is_unknown_has_it_unknown():
    one, other = findings_of("http://a/v1", n=True, seed=True), findings_of("http://b/v1", n=True)
    assert can(together([one, other])) == can(together([other, one])) == {"n": True, "seed": None}


# -- kept ------------------------------------------------------------------------------------------


def findings_of(url, *, at=None, **found):
    said = {name: {"can": value} for name, value in found.items()}
    return Findings(backend="chat", name="m", url=url, at=time.time() if at is None else at, found=said)


def test_findings_are_kept_by_backend_address_and_name(cache):
    findings = findings_of("http://h/v1", n=False)
    path = save_findings(findings)
    assert path.is_relative_to(cache)
    assert folder() == path.parent
    assert load_findings("chat", "http://h/v1", "m") == findings
    assert load_findings("vllm", "http://h/v1", "m") is None
    assert load_findings("chat", "http://h/v1", "other") is None
    save_findings(findings_of("http://h/v1", n=True))
    assert [p.name for p in folder().iterdir()] == [path.name]


def test_a_file_that_cannot_be_read_is_ignored(caplog):
    path = path_of("chat", "http://h/v1", "m")
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert load_findings("chat", "http://h/v1", "m") is None
    assert "is ignored" in caplog.text


def test_what_was_found_takes_the_place_of_what_was_taken_for_granted():
    less = findings_of("http://h/v1", n=False, json_schema=False, token_ids=False, prompt_logprobs=False)
    assert less.denies(VLLM) == ["n", "json_schema", "token_ids", "prompt_logprobs"]
    narrowed = less.applied(VLLM)
    assert (narrowed.many_choices, narrowed.return_token_ids, narrowed.prompt_logprobs) == (False,) * 3
    assert narrowed.output == "json_object"
    more = findings_of("http://h/v1", token_ids=True, prompt_logprobs=True, seed=None)
    assert more.denies(GENERIC) == []
    widened = more.applied(GENERIC)
    assert widened.return_token_ids
    assert widened.prompt_logprobs
    assert widened.many_choices == GENERIC.many_choices


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (3, "just now"),
        (61, "1 minute ago"),
        (7300, "2 hours ago"),
        (3 * 86400 + 5, "3 days ago"),
        (-9, "just now"),
    ],
)
def test_ages(seconds, said):
    assert age(time.time() - seconds) == said


async def test_a_model_made_from_a_spec_knows_what_was_found(caplog):
    asked = Request(
        messages=(user("hi"),), choices=2, sampling=Sampling(seed=1), output=OutputSchema(name="N", schema={})
    )
    async with TestServer() as server:
        spec = f"chat:m@{server.url}"
        save_findings(
            findings_of(server.url, n=False, json_schema=False, token_ids=True, at=time.time() - 90_000)
        )
        with caplog.at_level(logging.WARNING):
            model = resolve(spec)
        await model.complete(asked)
        await model.aclose()
    assert "does not support n, json_schema according to a probe (1 day ago)" in caplog.text
    first, second = [request.body for request in server.requests]
    assert "n" not in first
    assert first["response_format"] == {"type": "json_object"}
    assert first["return_token_ids"]
    assert {first["seed"], second["seed"]} == {1, 2}
    assert endpoint(spec, known=False).profile == GENERIC
    assert with_findings(GENERIC, "http://elsewhere/v1", "m") is GENERIC
