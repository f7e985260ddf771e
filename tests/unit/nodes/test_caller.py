import asyncio

import pytest

from critic_loop.core.errors import (
    BudgetSpent,
    ConfigError,
    ModelError,
    NotSent,
    RateLimited,
    StoreError,
    Unreachable,
)
from critic_loop.core.messages import user
from critic_loop.core.progress import StopReason
from critic_loop.core.protocols import Completion, OutputSchema, Request, ToolSpec
from critic_loop.core.records import Choice, Place, Sampling, Usage
from critic_loop.models import FailurePolicy, Fallback, Switchboard
from critic_loop.models.wrappers.fallback import Chain, FallbackCursor
from critic_loop.nodes.caller import request_digest
from critic_loop.testing import ScriptedModel
from tests.unit.nodes.conftest import Ordered, SlotLease, run_of

pytestmark = pytest.mark.anyio

REQUEST = Request(messages=(user("What is 6 * 7?"),))


def place(attempt, **fields):
    return Place(subject=(attempt,), agent="actor", **fields)


async def calls_of(grown, model, **fields):
    return (await run_of(grown, model, **fields)).caller


# -- written before it is sent, written before anything rests on it --------------------------------


async def test_the_call_is_on_disk_before_it_leaves_and_its_reply_before_the_next_call(grown):
    store = Ordered()
    model = ScriptedModel(lambda request: store.events.append("asked") or "42")
    calls = await calls_of(grown, model, store=store)
    asked = grown.ask()
    call, completion = await calls.complete(place(asked), "actor", REQUEST, template="t@1")
    await calls.complete(place(asked, turn=1), "actor", REQUEST)
    assert store.events == ["call on disk", "asked", "reply"] * 2, "a durable append carries what came before"
    assert completion.text == "42"
    sent, reply = grown.tree.calls[call], grown.tree.replies[call]
    assert (sent.request, sent.template, sent.binding, sent.sent_at) == (
        REQUEST.messages,
        "t@1",
        "scripted",
        1000.0,
    )
    assert (reply.status, reply.choices, reply.usage) == ("ok", completion.choices, completion.usage)


async def test_a_store_that_refuses_the_call_keeps_it_from_being_sent(grown):
    model = ScriptedModel(["42"])
    calls = await calls_of(grown, model, store=Ordered(fails=lambda r: r.type == "call"), calls=1)
    with pytest.raises(StoreError, match="the disk is full"):
        await calls.complete(place(grown.ask()), "actor", REQUEST)
    assert model.requests == []
    assert calls.ledger.calls == 0


async def test_a_store_that_refuses_the_reply_keeps_it_from_being_used(grown):
    calls = await calls_of(grown, ScriptedModel(["42"]), store=Ordered(fails=lambda r: r.type == "reply"))
    with pytest.raises(StoreError):
        await calls.complete(place(grown.ask()), "actor", REQUEST)


async def test_listeners_hear_of_every_record(grown):
    calls, heard = await calls_of(grown, ScriptedModel(["42"])), []
    calls.journal.notify = heard.append
    await calls.complete(place(grown.ask()), "actor", REQUEST)
    assert [record.type for record in heard] == ["call", "reply"]


# -- failures --------------------------------------------------------------------------------------


async def test_a_failed_call_is_recorded_and_paid_for(grown):
    calls = await calls_of(grown, ScriptedModel([RateLimited("too many"), "42"]), calls=2)
    where = place(grown.ask())
    with pytest.raises(RateLimited):
        await calls.complete(where, "actor", REQUEST)
    (reply,) = grown.tree.replies.values()
    assert (reply.status, reply.error, reply.error_code) == ("error", "too many", "rate-limited")
    assert (await calls.complete(where, "actor", REQUEST))[1].text == "42"
    with pytest.raises(BudgetSpent):
        await calls.complete(place(grown.ask()), "actor", REQUEST)


async def test_a_cancelled_call_is_recorded(grown):
    begun = asyncio.Event()

    async def never(request):
        begun.set()
        await asyncio.Event().wait()

    calls = await calls_of(grown, ScriptedModel(never))
    task = asyncio.create_task(calls.complete(place(grown.ask()), "actor", REQUEST))
    async with asyncio.timeout(5):
        await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [r.status for r in (await calls.journal.store.load("t")).replies.values()] == ["cancelled"]
    assert calls.ledger.calls == 1


async def test_a_call_that_is_cut_off_between_two_legs_leaves_no_trial_behind(grown):
    """The second candidate is on trial from the moment that the first has failed."""
    board = Switchboard("critic")
    down = ScriptedModel(lambda _: Unreachable("down"), spec="a")
    back = ScriptedModel(lambda _: "42", spec="b")
    board.bind("critic", Fallback(down, back, outage=FailurePolicy(opens_after=1, pause_s=0.0), retries=0))
    board._breaker("b").failed("outage", FailurePolicy(opens_after=1, pause_s=0.0), 0.0, trial=False)
    store = Ordered(fails=lambda record: record.type == "event" and record.kind == "fallback")
    calls = await calls_of(grown, back, store=store)
    calls.journal.slots = board
    with pytest.raises(StoreError):
        await calls.complete(place(grown.ask()), "critic", REQUEST)
    store.fails = lambda record: False
    await calls.complete(place(grown.ask()), "critic", REQUEST)
    assert board._breaker("b").state == "closed"


async def test_what_a_foreign_model_raises_is_a_recorded_model_error(grown):
    calls = await calls_of(grown, ScriptedModel(lambda request: {}["key"]))
    with pytest.raises(ModelError, match="model 'scripted': KeyError"):
        await calls.complete(place(grown.ask()), "actor", REQUEST)
    assert [r.status for r in grown.tree.replies.values()] == ["error"]


async def test_an_error_of_another_kind_passes_but_is_recorded(grown):
    calls = await calls_of(grown, ScriptedModel([ConfigError("a nested loop is wrong")]))
    with pytest.raises(ConfigError):
        await calls.complete(place(grown.ask()), "actor", REQUEST)
    assert [r.error_code for r in grown.tree.replies.values()] == ["config"]


async def test_a_model_that_gives_too_few_choices_is_wrong(grown):
    calls = await calls_of(grown, ScriptedModel([Completion(choices=())]))
    with pytest.raises(ModelError, match="model 'scripted' gave 0 choices, not 1"):
        await calls.complete(place(grown.ask()), "actor", REQUEST)


# -- found again -----------------------------------------------------------------------------------


async def test_an_answered_call_is_never_made_twice(grown):
    model = ScriptedModel(["42"])
    completion = Completion(
        choices=(Choice(message=user("x")),),
        usage=Usage(input_tokens=3),
        raw_usage={"n": 1},
        model="m",
        weight_version="w",
        request_id="r",
        prompt_token_ids=(1, 2),
    )
    calls = await calls_of(grown, ScriptedModel([completion]), calls=1)
    where = place(grown.ask())
    first = await calls.complete(where, "actor", REQUEST)
    resumed = await calls_of_resumed(calls, model)
    assert await resumed.complete(where, "actor", REQUEST) == first
    assert first[1] == completion
    assert model.requests == []


async def calls_of_resumed(calls, model):
    from tests.conftest import Grown

    grown = Grown()
    grown.tree = await calls.journal.store.load(calls.tree.id)
    return await calls_of(grown, model, calls=0)


OTHERS = {
    "messages": {"messages": (user("What is 6 * 8?"),)},
    "tools": {"tools": (ToolSpec(name="add"),)},
    "schema": {"output": OutputSchema(name="int", schema={"type": "integer"})},
    "sampling": {"sampling": Sampling(seed=1)},
    "choices": {"choices": 2},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
async def test_another_request_at_the_same_place_is_made(grown, other):
    model = ScriptedModel(lambda request: ["a"] * request.choices)
    calls = await calls_of(grown, model)
    where = place(grown.ask())
    changed = Request(**{"messages": REQUEST.messages, **other})
    first, second = [(await calls.complete(where, "actor", r))[0] for r in (REQUEST, changed)]
    assert len(model.requests) == 2
    assert (await calls.complete(where, "actor", REQUEST))[0] == first
    assert (await calls.complete(where, "actor", changed))[0] == second
    assert len(model.requests) == 2


async def test_another_place_asks_anew(grown):
    model = ScriptedModel(["a", "b", "c"])
    calls, attempt = await calls_of(grown, model), grown.ask()
    for where in (place(attempt), place(attempt, turn=1), place(attempt, repair=1)):
        await calls.complete(where, "actor", REQUEST)
    assert len(model.requests) == 3


async def test_a_failed_or_unanswered_call_is_made_again(grown):
    calls = await calls_of(grown, ScriptedModel([RateLimited("no"), "42"]))
    where = place(grown.ask())
    with pytest.raises(RateLimited):
        await calls.complete(where, "actor", REQUEST)
    killed = SlotLease(FallbackCursor(Chain(100.0, (ScriptedModel([], spec="killed"),), {}, 0), []), 3)
    grown.tree.append(calls._call(where, request_digest(REQUEST), REQUEST, "", "actor", killed))
    assert (await calls.complete(where, "actor", REQUEST))[1].text == "42"


def test_the_digest_is_of_the_question_not_of_its_circumstances():
    same = Request(messages=REQUEST.messages, timeout_s=3, tree="x", on_text=print)
    assert request_digest(same) == request_digest(REQUEST)


# -- budget and time -------------------------------------------------------------------------------


async def test_without_budget_nothing_is_sent_or_written(grown):
    model = ScriptedModel(["42"])
    calls = await calls_of(grown, model, calls=0)
    with pytest.raises(BudgetSpent, match="Raise max_calls"):
        await calls.complete(place(grown.ask()), "actor", REQUEST)
    assert calls.spent
    assert model.requests == []
    assert not grown.tree.calls


async def test_many_at_once_share_the_budget(grown):
    model = ScriptedModel(lambda request: "42", latency_s=0.001)
    calls = await calls_of(grown, model, calls=3)
    asks = [calls.complete(place(grown.ask()), "actor", REQUEST) for _ in range(8)]
    results = await asyncio.gather(*asks, return_exceptions=True)
    assert sum(isinstance(r, BudgetSpent) for r in results) == 5
    assert len(model.requests) == calls.ledger.calls == 3


async def test_retries_are_asked_of_the_budget(grown):
    def retrying(request):
        tries = 1
        while request.may_retry():
            tries += 1
        return str(tries)

    calls = await calls_of(grown, ScriptedModel(retrying), calls=4)
    assert (await calls.complete(place(grown.ask()), "actor", REQUEST))[1].text == "4"
    assert calls.ledger.calls == 4
    with pytest.raises(BudgetSpent):
        await calls.complete(place(grown.ask()), "actor", REQUEST)


async def test_a_retry_that_is_held_back_is_given_back(grown):
    async def held_back(request):
        assert request.may_send()
        assert request.may_retry()
        calls.halted = StopReason("interrupted", "the run was interrupted")
        assert not request.may_send()
        assert not request.may_retry()
        raise NotSent("not its turn")

    calls = await calls_of(grown, ScriptedModel(held_back), calls=4)
    with pytest.raises(BudgetSpent, match="interrupted"):
        await calls.complete(place(grown.ask()), "actor", REQUEST)
    assert (calls.ledger.calls, grown.tree.spend().calls) == (1, 1), "the first attempt had been sent"


async def test_tokens_are_settled_as_billed(grown):
    calls = await calls_of(grown, ScriptedModel(["one two three"]))
    await calls.complete(place(grown.ask()), "actor", REQUEST)
    assert (calls.ledger.calls, calls.ledger.tokens) == (1, 5 + 3)


@pytest.mark.parametrize(
    ("deadline_at", "timeout_s", "left"),
    [(None, None, None), (None, 5.0, 5.0), (1007.0, None, 7.0), (1007.0, 5.0, 5.0)],
)
async def test_a_call_gets_no_longer_than_the_loop_has(grown, deadline_at, timeout_s, left):
    model = ScriptedModel(["42"])
    calls = await calls_of(grown, model)
    calls.deadline_at = deadline_at
    request = Request(messages=REQUEST.messages, timeout_s=timeout_s)
    await calls.complete(place(grown.ask()), "actor", request)
    assert model.requests[0].timeout_s == left
    assert model.requests[0].tree == "t"


async def test_the_slot_is_leased_for_the_tree_and_the_attempt(grown):
    calls, attempt = await calls_of(grown, ScriptedModel(["42"])), grown.ask()
    await calls.complete(place(attempt), "critic", REQUEST)
    assert calls.journal.slots.leases == [("critic", "t", attempt)]


async def test_no_call_is_sent_when_the_time_is_up(grown):
    model = ScriptedModel(["42"])
    calls = await calls_of(grown, model)
    calls.deadline_at = 990.0
    with pytest.raises(BudgetSpent, match="the time is up"):
        await calls.complete(place(grown.ask()), "actor", REQUEST)
    assert (model.requests, calls.spent.name, calls.ledger.calls) == ([], "elapsed", 0)
