"""Slots, swaps and pins."""

import asyncio
import threading

import pytest

from critic_loop.core.errors import AuthFailed, ConfigError, ModelError, NoSuchSlot, Refused
from critic_loop.models import Swap, Switchboard
from critic_loop.testing import ScriptedModel, run_virtual

pytestmark = pytest.mark.anyio


def named(spec, **fields):
    return ScriptedModel(lambda _: "ok", spec=spec, **fields)


@pytest.fixture
def board():
    board = Switchboard()
    board.bind("actor", named("a0"))
    board.bind("critic", named("c0"))
    return board


async def swap(board, slot, spec, when):
    return await board.swap(slot, named(spec), when=when, warm=False, drain=False)


def test_a_binding_names_spec_model_and_revision(board):
    binding = board.binding("actor")
    assert (binding.spec, binding.revision) == ("a0", 0)
    assert binding.model.spec == "a0"


def test_unknown_and_unbound_slots_are_named(board):
    with pytest.raises(ConfigError, match=r"Did you mean 'critic'.*actor, critic, judge"):
        board.bind("critc", named("x"))
    with pytest.raises(NoSuchSlot, match="no slot"):
        board.binding("nobody")
    with pytest.raises(ConfigError, match="'judge' has no model"):
        board.binding("judge")


def test_what_is_bound_can_be_asked_and_shown(board):
    assert board.is_bound("critic")
    assert not board.is_bound("judge")
    assert repr(board) == "Switchboard({'actor': 'a0', 'critic': 'c0'})"


async def test_a_swap_for_calls_holds_from_the_next_call(board):
    board.binding("critic", attempt="t.1")
    assert await swap(board, "critic", "c1", "call") == Swap(
        slot="critic", old="c0", new="c1", old_revision=0, revision=1, when="call"
    )
    assert board.binding("critic", attempt="t.1").spec == "c1"
    assert board.binding("actor", attempt="t.1").spec == "a0"


async def test_a_swap_for_attempts_spares_those_begun_in_any_slot(board):
    board.binding("actor", attempt="t.1")
    await swap(board, "critic", "c1", "attempt")
    assert board.binding("critic", attempt="t.1").spec == "c0"
    assert board.binding("critic", attempt="t.2").spec == "c1"
    await swap(board, "critic", "c2", "attempt")
    seen = [board.binding("critic", attempt=f"t.{n}").revision for n in (1, 2, 3)]
    assert seen == [0, 1, 2]


async def test_a_swap_for_trees_spares_those_begun(board):
    board.binding("actor", tree="t")
    await swap(board, "critic", "c1", "tree")
    assert board.binding("critic", attempt="t.9").spec == "c0"
    assert board.binding("critic", attempt="u.1").spec == "c1"
    assert board.binding("critic").spec == "c1"


async def test_swaps_of_different_reach_stack(board):
    board.binding("critic", attempt="t.1")
    await swap(board, "critic", "c1", "tree")
    await swap(board, "critic", "c2", "attempt")
    assert board.binding("critic", attempt="t.1").spec == "c0"
    assert board.binding("critic", attempt="t.2").spec == "c2"
    await swap(board, "critic", "c3", "call")
    assert [board.binding("critic", attempt=a).spec for a in ("t.1", "t.2", "u.1")] == ["c3", "c3", "c3"]


async def test_an_attempt_begins_when_it_is_announced(board):
    board.begin("t.1")
    await swap(board, "critic", "c1", "attempt")
    assert board.binding("critic", attempt="t.1").spec == "c0"


async def test_what_is_asked_of_an_ended_attempt_is_asked_of_the_present_model(board):
    board.begin("t.1")
    await swap(board, "critic", "c1", "attempt")
    board.settled("t.1")
    assert board.binding("critic", attempt="t.1").spec == "c1"


async def test_a_drain_waits_for_what_keeps_the_binding_and_then_nobody_gets_it(board):
    for when, end in (("attempt", lambda: board.settled("t.1")), ("tree", lambda: board.forget("t"))):
        board.begin("t.1")
        old = board.binding("critic", attempt="t.1")
        model = named(f"after {when}")
        draining = asyncio.create_task(board.swap("critic", model, when=when, warm=False))
        await asyncio.sleep(0.01)
        assert not draining.done()
        async with board.lease("critic", attempt="t.1") as leased:  # a later call of what had begun
            assert leased.revision == old.revision
        await asyncio.sleep(0.01)
        assert not draining.done(), "the next call of the attempt would still come"
        end()
        await draining
        assert board.restore("t", "", "critic", old.revision, old.spec).spec == model.spec, "it was drained"
        board.forget("t")


async def test_a_drain_waits_for_resumed_trees_whose_pins_have_numbers_of_their_own(board):
    board.restore("t", "t.1", "critic", 4, "c0")
    draining = asyncio.create_task(board.swap("critic", named("c1"), when="attempt", warm=False))
    await asyncio.sleep(0.01)
    assert not draining.done(), "t.1 still asks c0"
    async with board.lease("critic", attempt="t.1") as leased:
        assert (leased.revision, leased.cursor.model.spec) == (4, "c0")
        board.forget("t")
        await asyncio.sleep(0.01)
        assert not draining.done(), "a call is on c0"
    await draining
    assert board.restore("u", "", "critic", 7, "c0").spec == "c1", "it was drained"
    await swap(board, "critic", "c0", "call")
    assert board.restore("u", "", "critic", 7, "c0").spec == "c0", "it is in use again"


async def test_a_model_that_is_bound_once_more_does_not_keep_its_own_drain_waiting(board):
    async with board.lease("critic", attempt="t.1"):
        draining = asyncio.create_task(board.swap("critic", board.binding("critic").model))
        await asyncio.sleep(0.01)
        assert not draining.done()
        later = board.lease("critic", attempt="t.2")
        await later.__aenter__()
    await asyncio.wait_for(draining, 1.0)
    await later.__aexit__(None, None, None)


async def test_who_waits_for_a_drain_in_a_loop_that_was_closed_disturbs_no_call(board):
    kept = []

    def elsewhere():
        async def begin():
            kept.append(asyncio.ensure_future(board.swap("critic", named("c1"), warm=False)))
            await asyncio.sleep(0.01)

        loop = asyncio.new_event_loop()
        loop.run_until_complete(begin())
        loop.close()

    async with board.lease("critic"):
        await asyncio.to_thread(elsewhere)
    assert board.in_flight("critic") == {}
    kept[0]._log_destroy_pending = False


async def test_a_swap_for_calls_ends_what_a_drain_waits_for(board):
    board.begin("t.1")
    draining = asyncio.create_task(board.swap("critic", named("c1"), when="tree"))
    await asyncio.sleep(0.01)
    assert not draining.done()
    await swap(board, "critic", "c2", "call")
    await asyncio.wait_for(draining, 1.0)


async def test_restored_pins_hold_until_a_swap_for_calls(board):
    board.bind("critic", named("c1"), revision=1)
    old = named("c0-old")
    board._made["c0-old"] = old  # as if the spec could be resolved
    board.restore("t", "t.1", "critic", 0, "c0-old")
    assert board.binding("critic", attempt="t.1").model is old
    assert board.binding("critic", attempt="t.1").revision == 0
    assert board.binding("critic", attempt="t.2").revision == 1
    await swap(board, "critic", "c2", "attempt")
    assert board.binding("critic", attempt="t.1").spec == "c0-old"
    assert board.binding("critic", attempt="t.3").spec == "c2"
    await swap(board, "critic", "c3", "call")
    assert board.binding("critic", attempt="t.1").spec == "c3"


async def test_a_restored_tree_keeps_its_binding_and_numbers_go_on(board):
    pinned = board.restore("t", "", "critic", 4, "c0")
    assert pinned.model is board.binding("critic", tree="u").model
    assert board.binding("critic", attempt="t.7").revision == 4
    assert (await swap(board, "critic", "c1", "tree")).revision == 5
    assert board.binding("critic", attempt="t.8").revision == 4
    board.forget("t")
    assert board.binding("critic", attempt="t.9").revision == 5


def test_a_pin_that_cannot_be_made_again_says_so(board):
    with pytest.raises(ConfigError, match="no backend"):
        board.restore("t", "t.1", "critic", 0, "elsewhere:x")


async def test_a_new_model_is_asked_for_one_token_first(board):
    model = named("c1")
    await board.swap("critic", model)
    [canary] = model.requests
    assert canary.sampling.max_tokens == 1


async def test_a_model_that_fails_when_warmed_changes_nothing(board):
    swaps = []
    board.subscribe(swaps.append)
    with pytest.raises(AuthFailed):
        await board.swap("critic", ScriptedModel([AuthFailed("401")]))
    assert board.binding("critic").spec == "c0"
    assert swaps == []


async def test_a_refused_canary_answers_too(board):
    await board.swap("critic", ScriptedModel([Refused("no")], spec="c1"))
    assert board.binding("critic").spec == "c1"


async def test_subscribers_hear_of_swaps_until_they_leave(board):
    swaps = []
    leave = board.subscribe(swaps.append)
    await swap(board, "critic", "c1", "call")
    leave()
    leave()
    await swap(board, "critic", "c2", "call")
    assert [(swap.old, swap.new, swap.revision) for swap in swaps] == [("c0", "c1", 1)]


def test_calls_in_flight_finish_on_the_old_model_and_a_drain_waits_for_them(board):
    async def call(seconds):
        async with board.lease("critic", attempt="t.1") as binding:
            await asyncio.sleep(seconds)
            return binding.cursor.model.spec

    async def main():
        calls = [asyncio.create_task(call(seconds)) for seconds in (1.0, 5.0)]
        await asyncio.sleep(0.5)
        assert board.in_flight("critic") == {0: 2}
        await board.swap("critic", named("c1"), drain=True)
        drained = asyncio.get_running_loop().time()
        assert board.in_flight("critic") == {}
        assert await call(0.0) == "c1"
        return drained, [await task for task in calls]

    assert run_virtual(main()) == (5.0, ["c0", "c0"])


def test_traffic_moves_before_a_drain_ends(board):
    async def main():
        async with board.lease("critic"):
            task = asyncio.create_task(board.swap("critic", named("c1"), drain=True))
            await asyncio.sleep(1)
            assert not task.done()
            assert board.binding("critic").spec == "c1"
        await task
        await board.swap("critic", named("c2"), drain=True)  # nothing in flight

    run_virtual(main())


def test_a_drain_that_was_cancelled_disturbs_nobody(board):
    async def main():
        async with board.lease("critic"):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(board.swap("critic", named("c1"), drain=True), 1.0)
        assert board.binding("critic").spec == "c1"

    run_virtual(main())


async def test_a_failed_call_is_no_longer_in_flight(board):
    with pytest.raises(ModelError):
        async with board.lease("critic"):
            raise ModelError("x")
    assert board.in_flight("critic") == {}


async def test_a_drain_waits_for_calls_of_other_threads(board):
    entered, release = threading.Event(), threading.Event()

    async def elsewhere():
        async with board.lease("critic"):
            entered.set()
            await asyncio.to_thread(release.wait)

    thread = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(elsewhere())))
    await asyncio.to_thread(entered.wait)
    draining = asyncio.create_task(board.swap("critic", named("c1"), drain=True))
    await asyncio.sleep(0.01)
    assert not draining.done()
    release.set()
    await draining
    await thread


async def test_slots_share_the_model_of_a_spec_and_it_is_closed_with_the_board():
    board = Switchboard("writer", "reader", settings={"ollama:q": {"timeout_s": 5}})
    writer, reader = board.bind("writer", "ollama:q"), board.bind("reader", "ollama:q")
    assert writer.model is reader.model
    await board.aclose()
    assert board.slots == ("writer", "reader")
