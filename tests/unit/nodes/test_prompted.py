import re
from dataclasses import replace

import pytest

from critic_loop.assets import Template
from critic_loop.core.messages import Image, Reasoning, Text, assistant, system, user
from critic_loop.core.records import ContextSpec, Sampling, Task, Verdict
from critic_loop.core.roles import seed_of
from critic_loop.nodes.views import actor_views
from critic_loop.outputs import output_of
from critic_loop.roles.texts import answer_text, plain_text
from critic_loop.testing import ScriptedModel
from tests.conftest import Grown
from tests.unit.nodes.conftest import (
    prompted_actor,
    prompted_critic,
    prompted_judge,
    run_of,
    said_of,
    texts,
    turns_of,
)

pytestmark = pytest.mark.anyio

PNG = Image.of(b"not really", "image/png")


async def request_of(grown, ask, *, actor=None, so_far=(), **parts):
    run = await run_of(grown, actor=actor or prompted_actor(), **parts)
    (view,) = actor_views(run, run.actor, [grown.tree.asks[ask]], so_far)
    return run.actor.request(view, 0)


# -- actor -----------------------------------------------------------------------------------------


async def test_a_draft_is_asked_with_the_task_alone(grown):
    request = await request_of(grown, grown.ask(seed=5))
    assert [m.role for m in request.messages] == ["system", "user"]
    assert request.messages[1] == user("What is 6 * 7?")
    assert request.sampling == Sampling(temperature=0.7, seed=seed_of(5, 0))


async def test_a_revision_is_a_conversation_with_feedback_between(grown):
    draft = grown.attempt(answer="41")
    grown.say(draft, verdict="fail", text="One too few.")
    second = grown.attempt(draft, answer="43")
    grown.say(second, verdict="fail", text="One too many.")
    view = ContextSpec(
        attempts=(draft, second), feedback=tuple(grown.tree.feedback), fields=("verdict", "text")
    )
    request = await request_of(grown, grown.ask(second, context=view))
    assert [m.role for m in request.messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    said = texts(request)
    assert said[2::2] == ["41", "43"]
    assert "One too few." in said[3]
    assert "One too many." not in said[3]
    assert "One too many." in said[5]


async def test_only_the_frozen_view_counts(grown):
    draft = grown.attempt(answer="41")
    early = grown.say(draft, verdict="fail", text="early")
    ask = grown.ask(draft, context=ContextSpec(attempts=(draft,), feedback=(early,), fields=("text",)))
    before = await request_of(grown, ask)
    grown.say(draft, verdict="fail", text="late")
    assert await request_of(grown, ask) == before
    assert "early" in texts(before)[-1]


async def test_a_host_systems_message_stays_behind_ours():
    grown = Grown(Task(prompt=(system("Be brief."), user("6 * 7?"))))
    request = await request_of(grown, grown.ask())
    assert [m.role for m in request.messages] == ["system", "system", "user"]
    assert texts(request)[1] == "Be brief."


async def test_rejected_answers_may_be_listed_instead(grown):
    first, second = grown.attempt(answer="40"), grown.attempt(answer="41")
    grown.say(second, verdict="fail", text="no")
    source = (
        '+++\nvariables = ["rejected", "round", "feedback"]\n+++\n'
        "{% block feedback %}{{ round }} {{ rejected }} {{ feedback }}{% endblock %}"
    )
    actor = prompted_actor().__class__(
        spec=prompted_actor().spec,
        template=Template.parse("x", source, "x"),
        slot="actor",
        name="a",
        output=output_of(None),
    )
    view = ContextSpec(attempts=(first, second), feedback=tuple(grown.tree.feedback), fields=("text",))
    request = await request_of(grown, grown.ask(second, context=view), actor=actor, memory="rejected")
    assert [m.role for m in request.messages] == ["user", "user"]
    said = texts(request)[1]
    assert said.startswith("2 ")
    assert re.findall(r"rejected>\n(\d+)\n", said) == ["40", "41"]
    assert "text>\nno\n" in said
    draft = await request_of(grown, grown.ask(), actor=actor, memory="rejected")
    assert texts(draft) == ["What is 6 * 7?"]


async def test_a_moves_sampling_lies_over_the_specs(grown):
    for over in (Sampling(temperature=1.5, max_tokens=9), Sampling(temperature=1.5, max_tokens=9, top_p=None)):
        ask = grown.ask(sampling=over)
        sampling = (await request_of(grown, ask)).sampling
        assert (sampling.temperature, sampling.max_tokens, sampling.top_p) == (1.5, 9, None)
    unset = grown.ask(sampling=Sampling(temperature=None))
    assert (await request_of(grown, unset)).sampling.temperature == 0.7


async def test_typed_answers_are_asked_for_with_their_schema(grown):
    request = await request_of(grown, grown.ask(), output=output_of(list[int]))
    assert request.output is not None
    assert '"integer"' in texts(request)[0]
    assert texts(request)[0].endswith(f"JSON Schema:\n{output_of(list[int]).describe()}")


async def test_the_system_message_is_the_same_in_all_trees():
    said: set[tuple[str, str]] = set()
    for key in ("one", "two"):
        grown = Grown(key=key)
        attempt = grown.attempt(answer="41")
        actor = await request_of(grown, grown.ask(), output=output_of(list[int]))
        model = ScriptedModel(['{"criteria": []}'])
        await said_of(await run_of(grown, model), prompted_critic("critic/rubric"), attempt)
        said.add((texts(actor)[0], texts(model.requests[0])[0]))
    assert len(said) == 1


async def test_turns_within_an_attempt_stand_at_places_of_their_own(grown):
    model = ScriptedModel(["a", "b"])
    run, ask = await run_of(grown, model), grown.tree.asks[grown.ask()]
    await turns_of(run, prompted_actor(), (ask,))
    (turn,) = await turns_of(run, prompted_actor(), (ask,), (assistant("a"), user("and?")))
    assert [c.place.turn for c in grown.tree.calls.values()] == [0, 1]
    assert len({r.sampling.seed for r in model.requests}) == 2
    assert [m.text for m in turn.messages] == ["a", "and?", "b"]
    assert all(re.fullmatch(r"actor/solver\.md@[0-9a-f]{12}", c.template) for c in grown.tree.calls.values())


# -- critic ----------------------------------------------------------------------------------------


async def test_a_critics_reply_is_read_and_names_its_call(grown):
    attempt = grown.attempt(answer="41")
    model = ScriptedModel(["One too few.\nVerdict: wrong"])
    said = await said_of(await run_of(grown, model), prompted_critic(sees=("answer", "reference")), attempt)
    assert (said.verdict, said.saw_reference, said.calls) == (Verdict.FAIL, True, ("t.c1",))
    assert "41" in model.requests[0].messages[-1].text
    assert model.requests[0].sampling.temperature == 0.0
    assert grown.tree.calls["t.c1"].place.subject == (attempt,)


async def test_a_reply_without_a_verdict_is_an_abstention(grown):
    attempt = grown.attempt(answer="41")
    said = await said_of(await run_of(grown, ScriptedModel(["Hm."])), prompted_critic(), attempt)
    assert (said.verdict, said.score, said.parse, said.saw_reference) == (
        Verdict.ABSTAIN,
        None,
        "unparsed",
        False,
    )


async def test_pictures_of_the_task_are_shown_to_critics_and_judges():
    grown = Grown(Task(prompt=(user("What is this?", PNG),)))
    one, two = grown.attempt(answer="a cat"), grown.attempt(answer="a dog")
    model = ScriptedModel(lambda request: "Verdict: correct\nBetter: A")
    run = await run_of(grown, model)
    await said_of(run, prompted_critic(), one)
    await said_of(run, prompted_judge(), one, two)
    assert [r.messages[-1].blobs for r in model.requests] == [(PNG,), (PNG,)]


# -- judge -----------------------------------------------------------------------------------------


async def test_a_judge_is_shown_both_in_order(grown):
    one, two = grown.attempt(answer="first words"), grown.attempt(answer="second words")
    model = ScriptedModel(["Better: A", "Better: A"])
    run = await run_of(grown, model)
    assert (await said_of(run, prompted_judge(), one, two)).preference == (1.0, 0.0)
    assert (await said_of(run, prompted_judge(), two, one)).preference == (1.0, 0.0)
    for request, (a, b) in zip(model.requests, [("first", "second"), ("second", "first")], strict=True):
        shown = re.findall(r"answer ([AB])>\n(\w+) words", request.messages[-1].text)
        assert shown == [("A", a), ("B", b)]
    assert [c.place.subject for c in grown.tree.calls.values()] == [(one, two), (two, one)]


# -- text ------------------------------------------------------------------------------------------


def test_an_answer_is_read_as_it_was_written(grown):
    written = grown.attempt(answer=[1], messages=(assistant("first"), user("more"), assistant("So: [1]")))
    silent = grown.attempt(answer={"a": 1}, messages=(assistant(Reasoning(text="hm"), Text(text="")),))
    assert answer_text(grown.tree[written]) == "So: [1]"
    assert answer_text(grown.tree[silent]) == '{"a":1}'
    assert plain_text("as it is") == "as it is"


def test_seeds_follow_from_places():
    assert seed_of("a", 1) == seed_of("a", 1) != seed_of("a", 2)
    assert all(0 <= seed_of(n) < 2**31 for n in range(200))


async def test_a_seed_that_an_author_set_wins(grown):
    actor = prompted_actor()
    fixed = replace(actor, spec=actor.spec.model_copy(update={"sampling": Sampling(seed=3)}))
    assert actor.sampling(Sampling(), 1).seed == 1
    assert fixed.sampling(Sampling(), 1).seed == 3
    assert fixed.sampling(Sampling(seed=7), 1).seed == actor.sampling(Sampling(seed=7), 1).seed == 7
