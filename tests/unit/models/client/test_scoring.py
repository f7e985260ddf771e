"""Log-probabilities of given texts: which tokens are counted, and that nothing else passes for them."""

import asyncio

import httpx
import orjson
import pytest

from critic_loop.core.errors import ModelError, RateLimited
from critic_loop.core.messages import system, user
from critic_loop.core.protocols import Request
from critic_loop.core.records import Sampling
from critic_loop.models import (
    ANTHROPIC,
    GENERIC,
    OLLAMA,
    VLLM,
    CannotScore,
    ChatModel,
    EndpointError,
    Limited,
    score,
)
from critic_loop.testing import Fault, Reply, ScriptedModel, TestServer

pytestmark = pytest.mark.anyio


def made(url, profile=VLLM, **fields):
    return ChatModel("m", url=url, profile=profile, **fields)


def asking(*texts, **fields):
    return Request(messages=(system("s"), user("q")), score=texts, choices=len(texts), **fields)


async def test_each_text_has_the_ids_and_logprobs_that_were_served():
    async with TestServer(lambda _: Reply(text="x", prompt_logprob=-0.5)) as server:
        model = made(server.url)
        got = await model.complete(asking("Yes", "No it is not", sampling=Sampling(seed=3, extra={"top_k": 1})))
        await model.aclose()
    yes, no = got.choices
    assert (yes.message.text, no.message.text) == ("Yes", "No it is not")
    assert (yes.logprobs, no.logprobs) == ((-0.5,), (-0.5,) * 4)
    assert len(no.token_ids) == 4
    assert not yes.message.sampled
    assert yes.finish_reason == "scored"
    assert len(got.prompt_token_ids) == 2
    assert got.usage.input_tokens == 2 + 3 + 6
    opening, *scored = [request.body for request in server.requests]
    assert "prompt_logprobs" not in opening
    assert [one["messages"][-1] for one in scored] == [
        {"role": "assistant", "content": text} for text in ("Yes", "No it is not")
    ]
    for one in scored:
        assert (one["prompt_logprobs"], one["continue_final_message"]) == (0, True)
        assert (one["add_generation_prompt"], one["max_completion_tokens"]) == (False, 1)
        assert (one["temperature"], one["top_k"], "seed" in one) == (0.0, 1, False)


def served(prompt, continued):
    """A transport that answers with these token ids, (id, text, logprob) of the continued prompt's."""

    def answered(request):
        message = {"message": {"role": "assistant", "content": ""}, "finish_reason": "length"}
        body = {"choices": [message], "usage": {}, "prompt_token_ids": list(prompt)}
        if "prompt_logprobs" in orjson.loads(request.content):
            body["prompt_token_ids"] = [token for token, _, _ in continued]
            entries = [{str(t): {"logprob": p, "decoded_token": text}} for t, text, p in continued]
            body["prompt_logprobs"] = [None, *entries[1:]]
        return httpx.Response(200, json=body)

    return lambda: httpx.MockTransport(answered)


@pytest.mark.parametrize(
    ("continued", "counted"),
    [
        ([(1, "q", 0), (2, ">", 0), (7, "Yes", -1)], (-1,)),
        (
            [(1, "q", 0), (2, ">", 0), (5, "<think>", -8), (6, "\n\n", -9), (7, "Ye", -1), (8, "s", -2)],
            (-1, -2),
        ),
        ([(1, "q", 0), (9, ">Ye", -3), (8, "s", -2)], (-3, -2)),  # a token across the border counts
        ([(1, "q", 0), (2, ">", 0), (7, "\ufffd", -1), (8, "\ufffd", -2)], (-1, -2)),  # pieces of characters
    ],
)
async def test_a_templates_own_tokens_are_left_out(continued, counted):
    model = made("http://127.0.0.1", transport=served([1, 2], continued))
    (choice,) = await score(model, "q", "Yes")
    assert choice.logprobs == counted
    assert choice.token_ids == tuple(token for token, _, _ in continued)[-len(counted) :]


@pytest.mark.parametrize("continued", [[(1, "q", 0), (2, ">", 0)], [(1, "q", 0)]])
async def test_no_tokens_are_no_score(continued):
    model = made("http://127.0.0.1", transport=served([1, 2], continued))
    with pytest.raises(EndpointError, match="no token of the text"):
        await score(model, "q", "Yes")


async def test_texts_of_one_token_are_scored_by_the_likeliest_first_tokens():
    tops = ((" No", -0.1), ("No", -0.2), (" Yes", -1.7), ("yes", -4.0))
    async with TestServer(lambda _: Reply(text="No way", first_tokens=tops)) as server:
        model = made(server.url, GENERIC)
        yes, no = await score(model, "q", "Yes", "No")
        with pytest.raises(CannotScore, match="'Maybe so' is not among its 4 likeliest first tokens"):
            await score(model, "q", "Yes", "Maybe so")
        await model.aclose()
    assert (yes.logprobs, no.logprobs) == ((-1.7,), (-0.2,))
    assert (yes.token_ids, yes.message.sampled, yes.finish_reason) == (None, False, "scored")
    body = server.requests[0].body
    assert (body["logprobs"], body["top_logprobs"], body["max_tokens"], body["temperature"]) == (
        True,
        20,
        1,
        0.0,
    )
    assert len(server.requests) == 2


async def test_an_endpoint_that_tells_nothing_cannot_score():
    async with TestServer() as server:
        model = made(server.url, GENERIC)
        with pytest.raises(CannotScore, match="no log-probabilities of a given text"):
            await score(model, "q", "Yes")
        await model.aclose()


async def test_who_cannot_says_so_before_anything_is_sent():
    async with TestServer() as server:
        model = made(server.url, ANTHROPIC)
        with pytest.raises(CannotScore, match="no log-probabilities"):
            await score(model, "q", "Yes")
        await model.aclose()
    assert server.requests == []


async def test_what_a_model_wrote_is_not_taken_for_a_score():
    with pytest.raises(ModelError, match="answered instead of scoring"):
        await score(ScriptedModel(["I think so", "or not"]), "q", "Yes", "No")
    with pytest.raises(ModelError, match="gave no log-probabilities"):
        await score(ScriptedModel(["Yes"]), "q", "Yes")


@pytest.mark.parametrize(
    ("profile", "request_"),
    [(VLLM, asking("Yes", "No", "Maybe")), (OLLAMA, Request(messages=(user("q"),), choices=3))],
)
async def test_what_is_several_requests_takes_as_many_places_in_the_window(profile, request_):
    async with TestServer(lambda _: Reply(text="x", prompt_logprob=-0.5), capacity=4, delay_s=0.05) as server:
        model = made(server.url, profile)
        limited = Limited(model, 4)
        await asyncio.gather(*(limited.complete(request_) for _ in range(3)))
        await limited.aclose()
    assert len(server.requests) == 3 * (4 if profile is VLLM else 3)


def test_what_is_one_request_takes_one_place():
    for profile, request in (
        (GENERIC, asking("Yes", "No")),
        (VLLM, Request(messages=(user("q"),), choices=3)),
    ):
        assert made("http://127.0.0.1", profile).sends(request) == 1


async def test_errors_are_those_of_any_call():
    async with TestServer(faults=[None, Fault("rate_limit")]) as server:
        model = made(server.url)
        with pytest.raises(RateLimited):
            await model.complete(asking("Yes"))
        await model.aclose()
