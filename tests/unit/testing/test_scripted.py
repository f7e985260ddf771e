"""The scripted model says what it was told, and remembers what it was asked."""

import asyncio

import pytest

from critic_loop.core.errors import DeadlineExceeded, ModelError, RateLimited
from critic_loop.core.messages import Text, ToolCall, assistant, user
from critic_loop.core.protocols import Completion, Model, Request
from critic_loop.core.records import Choice, Usage
from critic_loop.testing import OutOfReplies, ScriptedModel, run_virtual

pytestmark = pytest.mark.anyio


def ask(text="hi there", **fields):
    return Request(messages=(user(text),), **fields)


async def test_replies_come_in_order_and_requests_are_kept():
    model = ScriptedModel(["one", "two"])
    assert isinstance(model, Model)
    assert [(await model.complete(ask(str(i)))).text for i in range(2)] == ["one", "two"]
    assert [request.messages[0].text for request in model.requests] == ["0", "1"]


async def test_running_out_says_how_many_there_were():
    model = ScriptedModel(["one"])
    await model.complete(ask())
    with pytest.raises(OutOfReplies, match="has 1 replies, but was asked for reply 2") as raised:
        await model.complete(ask())
    assert isinstance(raised.value, ModelError)
    assert raised.value.scope == "job"


async def test_a_cycle_begins_again():
    model = ScriptedModel(["a", "b"], cycle=True)
    assert [(await model.complete(ask())).text for _ in range(5)] == ["a", "b", "a", "b", "a"]
    with pytest.raises(OutOfReplies):
        await ScriptedModel([], cycle=True).complete(ask())


async def test_messages_choices_completions_and_errors():
    call = ToolCall(id="c", name="f", arguments={})
    choice = Choice(message=assistant("b"), finish_reason="length", token_ids=(1,))
    whole = Completion(choices=(choice,), usage=Usage(input_tokens=7))
    model = ScriptedModel([assistant(call), choice, whole, RateLimited("slow down")])
    first = (await model.complete(ask())).choices[0]
    assert first.finish_reason == "tool_calls"
    assert first.message.sampled
    assert (await model.complete(ask())).choices == (choice,)
    assert await model.complete(ask()) is whole
    with pytest.raises(RateLimited):
        await model.complete(ask())


async def test_usage_counts_words():
    completion = await ScriptedModel(["three words here"]).complete(ask("two words"))
    assert completion.usage == Usage(input_tokens=2, output_tokens=3)


async def test_choices_take_one_reply_each():
    model = ScriptedModel(["a", "b", ["c", "d"], "e"])
    for expected in (["a", "b"], ["c", "d"]):
        completion = await model.complete(ask(choices=2))
        assert [choice.message.text for choice in completion.choices] == expected
    with pytest.raises(OutOfReplies, match="reply 5"):
        await model.complete(ask(choices=2))


async def test_what_does_not_fit_the_choices_is_a_mistake_in_the_test():
    with pytest.raises(ValueError, match="2 answers"):
        await ScriptedModel([["a", "b"]]).complete(ask(choices=3))
    with pytest.raises(TypeError, match="RateLimited"):
        await ScriptedModel(["a", RateLimited("x")]).complete(ask(choices=2))
    with pytest.raises(TypeError, match="not one string"):
        ScriptedModel("abc")


async def test_functions_answer_sync_or_async():
    async def later(request):
        await asyncio.sleep(0)
        return request.messages[-1].text.upper()

    def several(request):
        return [f"{i}" for i in range(request.choices)]

    assert (await ScriptedModel(later).complete(ask("hi"))).text == "HI"
    completion = await ScriptedModel(several).complete(ask(choices=3))
    assert [choice.message.text for choice in completion.choices] == ["0", "1", "2"]
    same = await ScriptedModel(lambda _: "x").complete(ask(choices=2))
    assert [choice.message.text for choice in same.choices] == ["x", "x"]


async def test_text_is_streamed_in_pieces():
    pieces = []
    await ScriptedModel(["  a few words\n"]).complete(ask(on_text=pieces.append))
    assert pieces == ["  a", " few", " words", "\n"]


def test_latency_is_virtual_and_replies_belong_to_the_order_of_asking():
    model = ScriptedModel(["a", "b", "c"], latency_s=lambda r: 3.0 - int(r.messages[0].text))

    async def main():
        texts = await asyncio.gather(*[model.complete(ask(str(i))) for i in range(3)])
        return [completion.text for completion in texts], asyncio.get_running_loop().time()

    assert run_virtual(main()) == (["a", "b", "c"], 3.0)


def test_a_latency_beyond_the_deadline_is_one():
    async def main():
        with pytest.raises(DeadlineExceeded):
            await ScriptedModel(["a"], latency_s=60).complete(ask(timeout_s=2))
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 2.0


async def test_parts_of_every_kind_are_counted():
    call = ToolCall(id="c", name="f", arguments_text="{ }")
    completion = await ScriptedModel([assistant(Text(text="a b"), call)]).complete(ask())
    assert completion.usage.output_tokens == 5
