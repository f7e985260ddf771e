"""Calls answered from a stored tree."""

from contextlib import suppress
from dataclasses import replace

import pytest

from critic_loop.core.errors import BudgetSpent, ModelError, NotRecorded, RateLimited, Refused
from critic_loop.core.messages import user
from critic_loop.core.protocols import Request
from critic_loop.core.records import Place, Sampling
from critic_loop.nodes.replay import Placeholder, Replay
from critic_loop.testing import ScriptedModel
from tests.conftest import Grown
from tests.unit.nodes.conftest import run_of

pytestmark = pytest.mark.anyio
ASK = Request(messages=(user("Is 41 right?\nThink."),), sampling=Sampling(seed=7))


def place(attempt, **fields):
    return Place(subject=(attempt,), agent="critic", **fields)


async def recorded(grown, *asked):
    """Ask models about the first attempt and return the tree that was written."""
    calls = (await run_of(grown, ScriptedModel([reply for _, reply in asked]))).caller
    for request, _ in asked:
        with suppress(ModelError):
            await calls.complete(place(grown.tree.roots[0]), "critic", request)
    return grown.tree


@pytest.fixture
async def once_more(grown):
    """Make a run over another tree whose calls a stored one answers."""
    now = Grown(tree="u")
    grown.ask()
    now.ask()

    async def make(*asked, calls=99):
        run = await run_of(now, Placeholder(), calls=calls)
        run.caller.replay = Replay(await recorded(grown, *asked))
        return run.caller

    return make


async def test_the_same_question_gets_the_stored_answer_and_a_record(once_more):
    calls = await once_more((ASK, "No."))
    root = calls.tree.roots[0]
    call_id, completion = await calls.complete(place(root), "critic", ASK)
    assert completion.text == "No."
    assert (calls.tree.calls[call_id].binding, calls.tree.calls[call_id].place.subject) == ("scripted", (root,))
    assert calls.tree.replies[call_id].usage.output_tokens == 1
    assert calls.tree.spend().calls == 1


async def test_an_answer_comes_before_an_error_and_errors_are_raised_again(once_more):
    other = replace(ASK, sampling=Sampling(seed=8))
    calls = await once_more((ASK, RateLimited("busy")), (ASK, "No."), (other, Refused("I will not")))
    root = calls.tree.roots[0]
    assert (await calls.complete(place(root), "critic", ASK))[1].text == "No."
    with pytest.raises(Refused, match="I will not"):
        await calls.complete(place(root), "critic", other)


async def test_an_equal_question_elsewhere_is_found(once_more):
    calls = await once_more((ASK, "No."))
    assert (await calls.complete(place(calls.tree.roots[0], turn=3), "critic", ASK))[1].text == "No."


async def test_another_question_is_an_error_that_shows_the_difference(once_more):
    calls = await once_more((ASK, "No."))
    root = calls.tree.roots[0]
    changed = replace(ASK, messages=(user("Is 42 right?\nThink."),), sampling=Sampling(seed=9))
    with pytest.raises(NotRecorded) as caught:
        await calls.complete(place(root), "critic", changed)
    said = str(caught.value)
    assert "-Is 41 right?\n+Is 42 right?" in said
    assert "Think." not in said
    assert "sampling: {'seed': 7} -> {'seed': 9}" in said
    with pytest.raises(NotRecorded, match=r"did not ask critic about .*turn 1"):
        await calls.complete(place(root, turn=1), "critic", changed)
    assert not calls.tree.calls, "nothing is written for what was not asked"


async def test_what_was_cut_off_is_said(once_more):
    calls = await once_more((ASK, "No."))
    calls.replay.tree.replies.clear()
    with pytest.raises(NotRecorded, match="cut off before"):
        await calls.complete(place(calls.tree.roots[0]), "critic", ASK)


async def test_a_replay_keeps_to_its_budget(once_more):
    calls = await once_more((ASK, "No."), calls=0)
    with pytest.raises(BudgetSpent):
        await calls.complete(place(calls.tree.roots[0]), "critic", ASK)


async def test_nobody_is_asked_around_a_replay():
    with pytest.raises(NotRecorded, match="during a replay"):
        await Placeholder().complete(ASK)
    await Placeholder().aclose()
