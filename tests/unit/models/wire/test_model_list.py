"""Lists of models, and what of them does not fit."""

import pytest

from critic_loop.core.messages import user
from critic_loop.core.protocols import Request
from critic_loop.models import ChatModel, NoSuchModel
from critic_loop.models.wire.model_list import ListedModel, found, listed, nearest, offer, other_base
from critic_loop.testing import Fault, TestServer

VLLM = {
    "object": "list",
    "data": [
        {"id": "Qwen3-8B", "root": "/weights/qwen", "parent": None, "max_model_len": 2048},
        {"id": "alias", "root": "/weights/qwen", "parent": None, "max_model_len": 2048},
        {"id": "critic-v3", "root": "/adapters/v3", "parent": "Qwen3-8B"},
    ],
}


def test_what_vllm_lists():
    assert listed(VLLM)[0] == ListedModel(name="Qwen3-8B", weights="/weights/qwen", context_tokens=2048)
    assert listed(VLLM)[2] == ListedModel(name="critic-v3", base="Qwen3-8B", weights="/adapters/v3")
    assert listed({"data": [{"id": "a"}, {"no": "id"}, "b"]}) == (ListedModel(name="a"),)


@pytest.mark.parametrize("answer", [{}, {"data": None}, [], "text", None])
def test_what_is_no_list(answer):
    assert listed(answer) is None


@pytest.mark.parametrize(
    ("name", "base", "other"),
    [
        ("critic-v3", "Qwen3-8B", ""),
        ("critic-v3", "alias", ""),
        ("critic-v3", "/weights/qwen", ""),
        ("critic-v3", "Llama", "Qwen3-8B"),
        ("alias", "Llama", ""),
        ("nobody", "Llama", ""),
    ],
)
def test_whose_adapter_it_is(name, base, other):
    assert other_base(name, base, listed(VLLM)) == other


def test_names_that_are_offered():
    many = tuple(ListedModel(name=name) for name in ("x", "y", "llama3:latest", "z", "w"))
    assert found("llama3", many) == many[2]
    assert found("llama", many) is None
    assert nearest("llama", many) == ["llama3:latest", "x", "y"]
    assert offer("llama", many) == "'llama3:latest', 'x', 'y' and 2 more"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("models", "hint"),
    [
        (["Qwen3-8B"], "It serves 'Qwen3-8B'."),
        (["m"], "Check the model's name and the address; /v1/models lists the names."),
        ([], "Check the model's name and the address; /v1/models lists the names."),
    ],
)
async def test_a_name_that_is_not_known_there_is_answered_with_those_that_are(models, hint):
    async with TestServer(faults=[Fault("unknown_model")], models=models) as server:
        model = ChatModel("m", url=server.url)
        with pytest.raises(NoSuchModel) as raised:
            await model.complete(Request(messages=(user("hi"),)))
        await model.aclose()
    assert raised.value.hint == hint
