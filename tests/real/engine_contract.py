"""`vllm-engine:` in a Python that has vLLM; `test_vllm_engine.py` runs this file there.

The environment variable TINY names the folder of the tiny models. Its file `served.json` holds the answers of a
server with the same weights.
"""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from critic_loop.core.messages import user
from critic_loop.core.protocols import Request
from critic_loop.core.records import Sampling
from critic_loop.models import resolve, score
from critic_loop.testing.model_contract import ModelContract
from tests.real.vllm import SERVE

pytestmark = pytest.mark.anyio
TINY = Path(os.environ["TINY"])
ARGUMENTS = SERVE["arguments"]


@pytest.fixture(scope="module")
def engine():
    return resolve(f"vllm-engine:{TINY / 'base'}", settings={"engine": {"arguments": ARGUMENTS}})


class TestEngine(ModelContract):
    def request(self, text="", *, choices=1):
        return replace(super().request(text, choices=choices), sampling=Sampling(max_tokens=16))

    @pytest.fixture
    def model(self, engine):
        return engine

    @pytest.fixture
    def broken(self):
        return resolve(f"vllm-engine:{TINY / 'nothing'}", settings={"engine": {"arguments": ARGUMENTS}})


SERVED = json.loads((TINY / "served.json").read_text())


async def test_greedy_tokens_and_scores_are_those_of_a_server(engine):
    sampling = Sampling(temperature=0.0, max_tokens=32, logprobs=True)
    answer = await engine.complete(Request(messages=(user("Is it right?"),), sampling=sampling))
    assert list(answer.choices[0].token_ids) == SERVED["token_ids"]
    assert list(answer.prompt_token_ids) == SERVED["prompt_token_ids"]
    assert answer.choices[0].logprobs == pytest.approx(SERVED["logprobs"], abs=1e-4)
    scored = await score(engine, "Is it right?", "Yes.", "No.")
    assert [sum(choice.logprobs) for choice in scored] == pytest.approx(SERVED["scores"], abs=1e-4)


async def test_a_seed_repeats_the_choices_and_the_choices_differ(engine):
    request = Request(messages=(user("Say it."),), choices=3, sampling=Sampling(seed=7, max_tokens=12))
    one, same = [(await engine.complete(request)).choices for _ in range(2)]
    assert [choice.token_ids for choice in one] == [choice.token_ids for choice in same]
    assert len({choice.token_ids for choice in one}) == 3


async def test_text_is_streamed_in_pieces(engine):
    pieces = []
    request = Request(messages=(user("Say it."),), on_text=pieces.append, sampling=Sampling(max_tokens=24))
    answer = await engine.complete(request)
    assert "".join(pieces) == answer.text
    assert len(pieces) > 1


async def test_adapters_are_served_beside_the_base(engine):
    def greedy(model):
        return model.complete(Request(messages=(user("hi"),), sampling=Sampling(temperature=0.0, max_tokens=8)))

    tuned = [resolve(f"vllm-engine:{TINY / 'base'}+{TINY / name}") for name in ("v1", "v2")]
    answers = [await greedy(model) for model in (engine, *tuned)]
    assert len({answer.text for answer in answers}) == 3
    assert [bool(answer.weight_version) for answer in answers] == [False, True, True]
    for model in tuned:
        await model.aclose()
    assert (await greedy(engine)).text == answers[0].text


async def test_the_engine_process_ends_when_its_last_model_is_closed(engine):
    await engine.complete(Request(messages=(user("hi"),), sampling=Sampling(max_tokens=1)))
    server = engine.inner._server
    llm = server._process._llm
    children = list(llm.engine_core.resources.engine_manager.processes)
    assert [child.is_alive() for child in children] == [True]
    await engine.aclose()
    for child in children:
        child.join(10)
    assert [child.is_alive() for child in children] == [False]
