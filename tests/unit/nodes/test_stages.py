import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

import critic_loop as cl
from critic_loop.core.errors import (
    AuthFailed,
    BudgetSpent,
    ModelError,
    NotRecorded,
    OutputError,
    RateLimited,
    Refused,
    SearchError,
    StoreError,
    Unreachable,
)
from critic_loop.core.records import Feedback, Location, Subject
from critic_loop.core.roles import Human
from critic_loop.nodes import stages
from critic_loop.outputs import output_of
from critic_loop.roles.escalation import Escalating
from critic_loop.testing import ScriptedModel
from critic_loop.tools import tool
from tests.unit.nodes.conftest import (
    RIGHT,
    WRONG,
    Ordered,
    calling,
    prompted_actor,
    prompted_critic,
    prompted_judge,
    run_of,
    said_of,
)

pytestmark = pytest.mark.anyio


@dataclass
class Says:
    """A critic that says what it is told to, or raises it."""

    words: Any
    name: str = "says"
    when: str = "always"
    shadow: bool = False
    steps: bool = False
    pairs: bool = False
    asked: list[Any] = field(default_factory=list)

    slot: str = "critic"
    sees: tuple[str, ...] = ("answer",)

    async def critique(self, view):
        tests = [a.id for a in view.also_shown]
        self.asked.append((view.attempt.id, *tests) if tests else view.attempt.id)
        if isinstance(self.words, BaseException):
            raise self.words
        return self.words

    verify = critique


async def acting(grown, replies, **parts):
    model = replies if isinstance(replies, ScriptedModel) else ScriptedModel(replies)
    return await run_of(grown, model, actor=prompted_actor(), **parts), model


def asks(grown, *ids):
    return tuple(grown.tree.asks[i] for i in ids)


def outline(tree):
    return [(a.id, a.status, a.answer) for a in tree], [f.model_dump() for f in tree.feedback.values()]


# -- actor -----------------------------------------------------------------------------------------


async def test_an_attempt_is_made_and_in_the_store(grown):
    run, model = await acting(grown, ["42"])
    one = grown.ask()
    await run.journal.store.append("t", *asks(grown, one))
    await stages.actor(run, asks(grown, one))
    attempt = grown.tree[one]
    assert (attempt.status, attempt.answer, attempt.messages[0].text) == ("complete", "42", "42")
    assert attempt.calls == tuple(grown.tree.calls)
    assert (await run.journal.store.load("t"))[one] == attempt
    await stages.actor(run, asks(grown, one))
    assert len(model.requests) == 1


async def test_a_group_of_samples_is_one_request(grown):
    run, model = await acting(grown, ["a", "b", "c"])
    group = asks(grown, *(grown.ask() for _ in range(3)))
    await stages.actor(run, group)
    assert [r.choices for r in model.requests] == [3]
    assert [grown.tree[a.attempt].answer for a in group] == ["a", "b", "c"]
    assert len({grown.tree[a.attempt].calls for a in group}) == 1


async def test_an_unreadable_answer_is_evidence_written_with_it(grown):
    store = Ordered()
    run, _ = await acting(grown, ["no number", "7", "none"], output=output_of(int), store=store)
    group = asks(grown, *(grown.ask() for _ in range(3)))
    await stages.actor(run, group)
    assert [(a.status, a.answer, a.error_code) for a in grown.tree] == [
        ("complete", None, "output"), ("complete", 7, ""), ("complete", None, "output"),
    ]  # fmt: skip
    said = list(grown.tree.feedback.values())
    assert [(f.id, f.subject.attempts, f.source, f.author, f.verdict, f.parse) for f in said] == [
        ("t.f1", ("t.1",), "verifier", "output", "fail", "unparsed"),
        ("t.f2", ("t.3",), "verifier", "output", "fail", "unparsed"),
    ]
    assert "no JSON found" in said[0].text
    assert store.events[-5:] == ["attempt", "attempt", "attempt", "feedback", "feedback"]
    before = outline(grown.tree)
    await stages.actor(run, group)
    await stages.verifier(run, group)
    assert outline(grown.tree) == before


@pytest.mark.parametrize("error", [RateLimited("slow"), Refused("no"), OutputError("?"), Unreachable("x")])
async def test_errors_of_an_attempt_are_records_and_others_pass(grown, error):
    run, _ = await acting(grown, [error])
    group = asks(grown, grown.ask())
    if error.scope == "attempt":
        await stages.actor(run, group)
        attempt = grown.tree["t.1"]
        assert (attempt.status, attempt.error, attempt.error_code) == ("failed", str(error), error.code)
    else:
        with pytest.raises(type(error)):
            await stages.actor(run, group)
        assert "t.1" not in grown.tree


@pytest.mark.parametrize("error", [AuthFailed("wrong key"), SearchError("nested"), ZeroDivisionError()])
async def test_a_wrong_key_and_programming_errors_write_no_failures(grown, error):
    class Broken:
        name = "broken"

        async def act(self, views):
            raise error

    run = await run_of(grown, actor=Broken())
    with pytest.raises(type(error)):
        await stages.actor(run, asks(grown, grown.ask()))
    assert not grown.tree.attempts


async def test_without_budget_an_ask_stays_open(grown):
    run, model = await acting(grown, ["42"], calls=0)
    await stages.actor(run, asks(grown, grown.ask()))
    assert list(grown.tree.open) == ["t.1"]
    assert run.caller.spent
    assert not model.requests


async def test_an_actor_speaks_a_limited_number_of_times(grown):
    def add() -> str:
        """Add."""
        return "done"

    run, _ = await acting(grown, [calling(("add", {}))], tools={"add": tool(add)}, max_turns=1)
    group = asks(grown, grown.ask())
    await stages.actor(run, group)
    await stages.tool_executor(run, group)
    await stages.actor(run, group)
    attempt = grown.tree["t.1"]
    assert (attempt.status, attempt.error) == ("failed", "the actor took 1 turns without an answer.")
    assert len(attempt.messages) == 2
    assert len(attempt.calls) == 1


async def test_without_tools_a_tool_call_is_no_answer(grown):
    run, _ = await acting(grown, [calling(("add", {}))])
    await stages.actor(run, asks(grown, grown.ask()))
    assert (grown.tree["t.1"].status, grown.tree["t.1"].error_code) == ("complete", "output")


# -- verifiers and critics -------------------------------------------------------------------------


async def test_each_verifier_and_critic_speaks_once_whatever_is_run_again(grown):
    verifiers = (Says(Feedback(score=0.2), "v1"), Says(Feedback.passed(), "v2"))
    critics = (Says(Feedback.failed("no"), "c1"), Says(Feedback.abstain("?"), "c2"))
    attempt = grown.attempt(answer="1")
    run = await run_of(grown, verifiers=verifiers, critics=critics)
    assert stages.missing(run, attempt)
    for _ in range(2):
        await stages.verifier(run, asks(grown, attempt))
        await stages.critic(run, asks(grown, attempt))
    said = [(f.source, f.author, f.verdict, f.score, f.subject.attempts) for f in grown.tree.feedback.values()]
    assert said == [
        ("verifier", "v1", None, 0.2, (attempt,)),
        ("verifier", "v2", "pass", None, (attempt,)),
        ("critic", "c1", "fail", None, (attempt,)),
        ("critic", "c2", "abstain", None, (attempt,)),
    ]
    assert not stages.missing(run, attempt)
    assert len((await run.journal.store.load("t")).feedback) == 4


@pytest.mark.parametrize(
    "words",
    [
        Feedback.failed(advisory=True),
        Feedback.failed(subject=Subject(attempts=("t.1",), location=Location(step=2))),
    ],
)
async def test_a_shadow_or_a_word_on_a_part_counts_as_said(grown, words):
    attempt, critic = grown.attempt(answer="1"), Says(words)
    run = await run_of(grown, critics=(critic,))
    for _ in range(2):
        await stages.critic(run, asks(grown, attempt))
    assert critic.asked == [attempt]
    assert not stages.missing(run, attempt)


async def test_only_readable_answers_are_judged(grown):
    critic = Says(Feedback.passed())
    unreadable = grown.attempt(text="?", error="x", error_code="output")
    ids = [grown.ask(), grown.attempt(status="failed"), grown.attempt(status="partial"), unreadable]
    good = grown.attempt(answer="1")
    run = await run_of(grown, critics=(critic,), verifiers=(critic,))
    for stage in (stages.verifier, stages.critic):
        await stage(run, asks(grown, *ids, good))
    assert critic.asked == [good, good]


async def test_an_unverified_critic_is_not_asked_about_what_passed(grown):
    critic = Says(Feedback.passed(), when="unverified")
    ids = {verdict: grown.attempt(answer="1") for verdict in ("pass", "fail", "abstain")}
    for verdict, attempt in ids.items():
        grown.verified(attempt, verdict)
    run = await run_of(grown, critics=(critic,))
    assert not stages.missing(run, ids["pass"])
    await stages.critic(run, asks(grown, *ids.values()))
    assert critic.asked == [ids["fail"], ids["abstain"]]


@pytest.mark.parametrize(
    ("error", "parse"),
    [(Unreachable("nobody there"), "error"), (RateLimited("slow"), "error"), (Refused("no"), "refused")],
)
async def test_a_critic_that_fails_abstains_with_the_reason(grown, error, parse):
    attempt = grown.attempt(answer="1")
    run = await run_of(grown, ScriptedModel([error]), critics=(prompted_critic(),))
    await stages.critic(run, asks(grown, attempt))
    (said,) = grown.tree.feedback.values()
    assert (said.verdict, said.score, said.reason, said.parse) == ("abstain", None, str(error), parse)
    assert not stages.missing(run, attempt)


async def test_a_verifier_that_raises_abstains(grown):
    @cl.verifier
    def broken(view):
        raise KeyError("tests")

    attempt = grown.attempt(answer="1")
    await stages.verifier(await run_of(grown, verifiers=(broken,)), asks(grown, attempt))
    (said,) = grown.tree.feedback.values()
    assert (said.verdict, said.reason) == ("abstain", "verifier 'broken': KeyError: 'tests'")


async def test_a_wrong_key_passes_after_the_other_critics_were_heard(grown):
    attempt = grown.attempt(answer="1")
    run = await run_of(grown, critics=(Says(AuthFailed("wrong key"), "a"), Says(Feedback.passed(), "b")))
    with pytest.raises(AuthFailed, match="wrong key"):
        await stages.critic(run, asks(grown, attempt))
    assert [f.author for f in grown.tree.feedback.values()] == ["b"]


async def test_without_budget_a_critics_word_stays_missing(grown):
    attempt = grown.attempt(answer="1")
    run = await run_of(grown, ScriptedModel([RIGHT]), critics=(prompted_critic(),), calls=0)
    await stages.critic(run, asks(grown, attempt))
    assert not grown.tree.feedback
    assert stages.missing(run, attempt)


async def test_what_a_critic_is_asked_does_not_depend_on_who_was_quicker(grown):
    critics = (
        prompted_critic("critic/stepwise", sees=("answer", "text", "verdict", "verifier")),
        prompted_critic("critic/verdict"),
    )
    attempt = grown.attempt(answer="1")
    together = ScriptedModel([WRONG, RIGHT])
    await stages.critic(await run_of(grown, together, critics=critics), asks(grown, attempt))
    alone = ScriptedModel([WRONG])
    grown.tree._by_place.clear()
    await said_of(await run_of(grown, alone, store=Ordered()), critics[0], attempt)
    assert alone.requests[0].messages == together.requests[0].messages


# -- people ----------------------------------------------------------------------------------------


async def test_an_attempt_waits_for_its_people_and_is_released_by_their_word(grown):
    people = (Human(name="ann"), Human(name="bob", when="unverified"))
    run, _ = await acting(grown, ["42"], humans=people)
    group = asks(grown, grown.ask())
    await stages.actor(run, group)
    await stages.critic(run, group)
    assert grown.tree["t.1"].status == "parked"
    assert stages.awaited(run, "t.1") == people
    grown.verified("t.1", "pass")
    assert stages.awaited(run, "t.1") == people[:1]
    await stages.add(run, [Feedback.passed("good")], Subject.of("t.1"), "human", "ann")
    for _ in range(2):
        await stages.release(run, "t.1")
    assert grown.tree["t.1"].status == "complete"


async def test_nobody_is_asked_about_what_cannot_be_read(grown):
    run, _ = await acting(grown, ["no number"], humans=(Human(),), output=output_of(int))
    group = asks(grown, grown.ask())
    await stages.actor(run, group)
    assert grown.tree["t.1"].status == "parked"
    await stages.critic(run, group)
    assert grown.tree["t.1"].status == "complete"
    await stages.release(run, "t.9")


# -- pairs -----------------------------------------------------------------------------------------


async def test_answers_that_stand_meet_tests_that_stand_once(grown):
    first, second = grown.attempt(answer="1"), grown.attempt(answer="2")
    old = grown.attempt(answer="t", kind="tests")
    test = grown.attempt(answer="t", kind="tests", replaces=old)
    better = grown.attempt(answer="3", replaces=second)
    grown.attempt(answer=None, kind="step")
    grown.attempt(status="failed", kind="tests")
    grown.say(first, test, source="verifier", author="p", verdict="pass")
    pairs, alone = Says(Feedback.passed(), name="p", pairs=True), Says(Feedback.passed(), name="alone")
    run = await run_of(grown, verifiers=(pairs, alone))
    for _ in range(2):
        await stages.pair_verifier(run)
    assert (pairs.asked, alone.asked) == ([(better, test)], [])
    assert grown.tree.about(better)[-1].subject == Subject.of(better, test)


# -- judge -----------------------------------------------------------------------------------------


async def judging(grown, replies, **parts):
    model = ScriptedModel(replies)
    return await run_of(grown, model, judge=prompted_judge(), judge_revisions=True, **parts), model


def pairs(grown):
    return {f.subject.attempts: f.preference for f in grown.tree.feedback.values() if f.source == "judge"}


async def test_two_attempts_are_compared_in_both_orders_once(grown):
    one, two = grown.attempt(answer="1"), grown.attempt(answer="2")
    run, model = await judging(
        grown, lambda r: "Better: A" if "answer A>\n2" in r.messages[-1].text else "Better: B"
    )
    for _ in range(2):
        await stages.judge(run, one, two)
    assert pairs(grown) == {(one, two): (0.0, 1.0), (two, one): (1.0, 0.0)}
    assert len(model.requests) == 2
    assert all(f.calls for f in grown.tree.feedback.values())


async def test_a_missing_order_is_made_up_for(grown):
    one, two = grown.attempt(answer="1"), grown.attempt(answer="2")
    grown.say(one, two, source="judge", preference=(1.0, 0.0))
    run, _ = await judging(grown, ["Better: B"])
    await stages.judge(run, one, two)
    assert pairs(grown) == {(one, two): (1.0, 0.0), (two, one): (0.0, 1.0)}


async def test_revisions_are_compared_where_evidence_does_not_decide(grown):
    draft = grown.attempt(answer="1")
    revision = grown.attempt(draft, answer="2")
    known, broken = grown.attempt(draft, answer="3"), grown.attempt(draft, status="failed")
    grown.verified(known, "fail")
    run, model = await judging(grown, ["Better: tie"] * 2)
    assert stages.missing(run, revision)
    for _ in range(2):
        await stages.judge_revisions(run, asks(grown, draft, revision, known, broken))
    assert set(pairs(grown)) == {(draft, revision), (revision, draft)}
    assert len(model.requests) == 2
    assert not any(stages.missing(run, i) for i in (draft, revision, known))


async def test_a_judge_that_fails_abstains_and_a_wrong_key_passes(grown):
    one, two = grown.attempt(answer="1"), grown.attempt(answer="2")
    run, _ = await judging(grown, [ModelError("broken"), AuthFailed("key")])
    with pytest.raises(AuthFailed):
        await stages.judge(run, one, two)
    assert [(f.subject.attempts, f.verdict, f.reason) for f in grown.tree.feedback.values()] == [
        ((one, two), "abstain", "broken")
    ]


async def test_without_budget_selection_ends_and_a_resumed_loop_asks_again(grown):
    draft = grown.attempt(answer="1")
    revision = grown.attempt(draft, answer="2")
    poor, _ = await judging(grown, [], calls=0)
    await stages.judge_revisions(poor, asks(grown, revision))
    assert pairs(grown) == {}
    with pytest.raises(BudgetSpent):
        await stages.judge(poor, draft, revision)
    assert pairs(grown) == {}, "a judge who was never asked has said nothing"
    assert stages.missing(poor, revision)
    rich, model = await judging(grown, ["Better: A", "Better: B"], store=Ordered())
    await stages.judge_revisions(rich, asks(grown, revision))
    assert len(model.requests) == 2
    assert not stages.missing(rich, revision)


async def test_without_a_judge_nothing_is_compared(grown):
    one, two = grown.attempt(answer="1"), grown.attempt(answer="2")
    await stages.judge(await run_of(grown), one, two)
    assert not grown.tree.feedback


# -- gather ----------------------------------------------------------------------------------------


async def test_all_settle_before_the_first_error_passes():
    done, gate = [], asyncio.Event()

    async def fails():
        gate.set()
        raise KeyError("first")

    async def works():
        await gate.wait()
        done.append("worked")

    with pytest.raises(KeyError):
        await stages.gather([fails(), works()])
    assert done == ["worked"]
    assert await stages.gather(asyncio.sleep(0, n) for n in range(3)) == [0, 1, 2]
    assert await stages.gather([asyncio.sleep(0, "one")]) == ["one"]


# -- shadows and second opinions -------------------------------------------------------------------


async def test_a_shadow_is_recorded_and_not_obeyed(grown):
    attempt = grown.attempt(answer="41")
    run = await run_of(grown, critics=(Says(Feedback.passed("fine"), "shadow", shadow=True),))
    await stages.critic(run, [grown.tree.asks[attempt]])
    [feedback] = grown.tree.about(attempt)
    assert (feedback.author, feedback.verdict, not feedback.advisory) == ("shadow", cl.Verdict.PASS, False)
    assert grown.tree.judgements(attempt) == ()
    assert not stages.missing(run, attempt)


async def test_a_shadows_wrong_key_disturbs_nobody(grown):
    attempt = grown.attempt(answer="41")
    run = await run_of(grown, critics=(Says(AuthFailed("401"), "shadow", shadow=True),))
    await stages.critic(run, [grown.tree.asks[attempt]])
    [feedback] = grown.tree.about(attempt)
    assert (feedback.verdict, not feedback.advisory) == (cl.Verdict.ABSTAIN, False)


@pytest.mark.parametrize("error", [NotRecorded("another question"), StoreError("the disk is full")])
async def test_what_is_no_models_fault_ends_the_run_in_a_shadow_too(grown, error):
    attempt = grown.attempt(answer="41")
    run = await run_of(grown, critics=(Says(error, "shadow", shadow=True),))
    with pytest.raises(type(error)):
        await stages.critic(run, [grown.tree.asks[attempt]])


def escalating(first, second):
    return Escalating(first=Says(first, "local"), second=Says(second, "local/escalated"), below=0.7)


async def said_by(grown, critic):
    attempt = grown.attempt(answer="41")
    run = await run_of(grown, critics=(critic,))
    await stages.critic(run, [grown.tree.asks[attempt]])
    return grown.tree.judgements(attempt), list(grown.tree.feedback.values()), critic.second.asked


async def test_a_sure_critic_is_not_escalated(grown):
    sure = escalating(Feedback.passed(confidence=0.7), AssertionError("not asked"))
    [one], _, asked = await said_by(grown, sure)
    assert (one.confidence, asked) == (0.7, [])


@pytest.mark.parametrize(
    "first", [Feedback.passed(confidence=0.69), Feedback.passed("no confidence stated"), Unreachable("down")]
)
async def test_a_second_opinion_takes_the_place_of_an_unsure_one(grown, first):
    [obeyed], (early, late), _ = await said_by(grown, escalating(first, Feedback.failed("wrong")))
    assert (obeyed.verdict, obeyed.author) == (cl.Verdict.FAIL, "local")
    assert (late.supersedes, early.supersedes) == (early.id, None)


async def test_a_second_opinion_that_abstains_leaves_the_first(grown):
    first = Feedback.passed(confidence=0.1)
    [obeyed], (_, late), _ = await said_by(grown, escalating(first, RateLimited("busy")))
    assert obeyed.verdict is cl.Verdict.PASS
    assert (not late.advisory, late.verdict) == (False, cl.Verdict.ABSTAIN)


async def test_without_budget_for_the_second_nothing_is_written(grown):
    _, written, _ = await said_by(grown, escalating(Feedback.passed(confidence=0.1), BudgetSpent("spent")))
    assert written == []


async def test_a_wrong_key_ends_the_job_in_either(grown):
    for pair in ((AuthFailed("401"), None), (Feedback.passed(), AuthFailed("401"))):
        with pytest.raises(AuthFailed):
            await said_by(grown, escalating(*pair))
