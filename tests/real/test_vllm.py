"""A real vLLM: the model contract in both wire formats, token ids, scores and capabilities.

    VLLM_URL=http://127.0.0.1:8000/v1 python -m pytest tests/real/test_vllm.py

Without VLLM_URL, a server of a tiny model is started, as in `test_vllm_managed`. Without a GPU, start your own
with `--no-enable-chunked-prefill`: there, a request with a seed whose prompt is processed in chunks stops
vLLM 0.32 ("CPU Generator does not use offset").
"""

import os
from dataclasses import replace

import pytest

from critic_loop.core.messages import user
from critic_loop.core.protocols import Request
from critic_loop.core.records import Sampling
from critic_loop.models import ANTHROPIC, VLLM, ChatModel, score
from critic_loop.models.client.probe import probe
from critic_loop.models.vllm.server import Server
from critic_loop.models.vllm.settings import Serve
from critic_loop.testing.model_contract import ModelContract
from tests.real.vllm import NEEDS_VLLM, SERVE

URL = os.environ.get("VLLM_URL", "")
pytestmark = [pytest.mark.anyio] + ([] if URL else [NEEDS_VLLM])


@pytest.fixture(scope="module")
def served(request):
    """The address of a server, and a function that returns its key; None: the key is in the environment."""
    if URL:
        yield URL, None
        return
    server = Server(str(request.getfixturevalue("tiny") / "base"), Serve(**SERVE))
    server.rouse()
    yield server.url, server.key
    server.stop()


async def made(profile, served):
    listing = named("?", profile, served)
    name = (await listing.served())[0].name
    await listing.aclose()
    return named(name, profile, served)


def named(name, profile, served):
    url, key = served
    return keyed(ChatModel(name, url=url, profile=profile, key=key))


def keyed(model):
    """Send the key as a bearer token, which vLLM reads in both of its formats, not as x-api-key."""
    headers = model._endpoint._headers
    model._endpoint._headers = lambda key: headers(key) | ({"Authorization": f"Bearer {key}"} if key else {})
    return model


class Served(ModelContract):
    profile = VLLM

    def request(self, text="", *, choices=1):
        return replace(super().request(text, choices=choices), sampling=Sampling(max_tokens=16))

    @pytest.fixture
    async def model(self, served):
        model = await made(self.profile, served)
        yield model
        await model.aclose()

    @pytest.fixture
    def secret(self, served):
        key = served[1]() if served[1] else os.environ.get("VLLM_API_KEY")
        return key or "no key was given"

    @pytest.fixture
    def broken(self, served):
        return named("nobody", self.profile, served)


class TestChatCompletions(Served):
    pass


class TestMessages(Served):
    profile = ANTHROPIC

    async def test_streamed_text_is_the_answers_text(self, model):
        """As in the contract, with a limit that fits a small context."""
        pieces = []
        completion = await model.complete(replace(self.request(), on_text=pieces.append))
        assert "".join(pieces) == completion.text


del Served  # not a test itself


@pytest.fixture
async def model(served):
    model = await made(VLLM, served)
    yield model
    await model.aclose()


async def test_a_score_is_the_logprob_of_the_token_when_it_is_sampled(model):
    """Holds where the chat template puts nothing before an answer, such as an empty thought."""
    question = Request(
        messages=(user("Is 6 * 7 equal to 42?"),),
        sampling=Sampling(temperature=0.0, max_tokens=1, logprobs=True, extra={"top_logprobs": 20}),
    )
    body = await model.ask(question, profile=VLLM, fields={}, timeout_s=60)
    tops = body["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    plain = {top["token"]: top["logprob"] for top in tops if top["token"].strip().isalnum()}
    scored = await score(model, question.messages, *plain)
    whole = [(choice, plain[choice.message.text]) for choice in scored if len(choice.token_ids) == 1]
    assert whole
    for choice, written in whole:
        assert choice.logprobs[0] == pytest.approx(written, abs=1e-3)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_every_token_of_prompt_and_answer_has_its_id(model, streamed):
    """And every token of the answer its log-probability."""
    sampling = Sampling(seed=1, max_tokens=8, logprobs=True)
    pieces = []
    asked = Request(
        messages=(user("Say it."),), choices=2, sampling=sampling, on_text=pieces.append if streamed else None
    )
    got = await model.complete(asked)
    assert bool(pieces) is streamed
    assert got.prompt_token_ids, "the prompt has token ids"
    assert all(choice.token_ids for choice in got.choices), "every answer has token ids"
    assert len(got.prompt_token_ids) == got.usage.input_tokens
    lengths = [(len(choice.token_ids), len(choice.logprobs)) for choice in got.choices]
    assert [ids for ids, _ in lengths] == [logprobs for _, logprobs in lengths]
    assert sum(ids for ids, _ in lengths) == got.usage.output_tokens > 0


async def test_scored_texts_have_an_id_and_a_logprob_for_each_token(model):
    asked = Request(messages=(user("hi"),), score=("Yes", "No, it is not."), choices=2)
    got = await model.complete(asked)
    assert got.prompt_token_ids
    assert [len(c.token_ids) == len(c.logprobs) > 0 for c in got.choices] == [True, True]
    assert all(logprob <= 0 for choice in got.choices for logprob in choice.logprobs)


async def test_a_probe_finds_what_vllm_serves(model):
    found = (await probe(model)).found
    for name in ("json_schema", "logprobs", "prompt_logprobs", "token_ids", "n", "seed"):
        assert found[name].can is True, found[name]
