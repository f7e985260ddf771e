"""What a role returns can neither end a run that should go on nor stand for another's word."""

import pytest

import critic_loop as cl
from critic_loop.core.errors import ConfigError, SearchError, UnreadableResponse
from critic_loop.core.messages import assistant
from critic_loop.core.protocols import Compare, Parsed
from critic_loop.core.records import Feedback, Subject, Verdict
from critic_loop.core.roles import Turn
from critic_loop.graph.people import answers_in
from critic_loop.testing import ScriptedModel

pytestmark = pytest.mark.anyio


class Critic:
    name, slot, sees, when, shadow = "c", "critic", ("answer", "verifier"), "always", False

    def __init__(self, say):
        self.say = say

    async def critique(self, view):
        return self.say(view)


class Verifier:
    name, steps, pairs = "v", False, False

    def __init__(self, say):
        self.say = say

    async def verify(self, view):
        return self.say(view)


class Judge:
    name, slot = "j", "judge"

    def __init__(self, say):
        self.say = say

    async def compare(self, view):
        return self.say(view)


class Actor:
    name = "a"

    def __init__(self, turn):
        self.turn = turn

    async def act(self, views):
        return self.turn(views)


def breaks(view):
    raise ValueError("broken")


def first_of(view):
    return view.attempt.id.rpartition(".")[0] + ".1"


UNUSABLE = {
    "nothing": lambda view: None,
    "text": lambda view: "fine",
    "nested": lambda view: [[True]],
    "generator": lambda view: (x for x in [True]),
    "an error": breaks,
    "unknown attempt": lambda view: Feedback.passed(subject=Subject.of("zz.1")),
    "several attempts": lambda view: Feedback(subject=Subject.of(first_of(view), "zz.1")),
    "no attempt": lambda view: Feedback.passed(subject=Subject(feedback=view.attempt.id + ".f1")),
    "supersedes unknown": lambda view: Feedback.passed(supersedes="zz"),
    "supersedes a later one": lambda view: [Feedback.passed(supersedes="#b"), Feedback.failed(id="#b")],
    "supersedes itself": lambda view: Feedback.passed(id="#b", supersedes="#b"),
    "rests on unknown": lambda view: Feedback.passed(rests_on=("zz",)),
    "preference over one": lambda view: Feedback(verdict=Verdict.PASS, preference=(1.0, 0.0)),
    "score out of range": lambda view: Feedback.passed().model_copy(update={"score": 7.0}),
}


def loop_of(**given):
    return cl.Loop("refine", **{"actor": ScriptedModel(["41"] * 9), "max_calls": 2, "stop": None, **given})


@pytest.mark.parametrize("said", UNUSABLE)
@pytest.mark.parametrize("kind", ["critic", "verifier"])
async def test_a_role_that_cannot_be_understood_abstains(kind, said):
    says = UNUSABLE[said]
    given = {"critic": Critic(says), "verifiers": []}
    if kind == "verifier":
        given = {"critic": Critic(lambda view: False), "verifiers": [Verifier(says)]}
    result = await loop_of(**given).run("q")
    heard = [f for f in result.tree.feedback.values() if f.source == kind]
    assert [f.verdict for f in heard] == [Verdict.ABSTAIN] * len(result.tree)
    assert all(f.reason for f in heard)


async def test_an_object_may_return_all_that_a_function_may():
    result = await loop_of(verifiers=[Verifier(lambda view: [True])], critic=Critic(lambda view: 0.5)).run("q")
    assert (result.stop, result.decided_by) == ("verified", "verifier")


async def test_no_critic_takes_back_evidence():
    wipes = Critic(lambda view: Feedback.passed(supersedes=view.feedback[0].id))
    result = await loop_of(verifiers=[Verifier(lambda view: False)], critic=wipes).run("q")
    assert cl.value_of(result.tree, result.attempt_id).verified is False
    assert all(f.supersedes is None for f in result.tree.feedback.values())


async def test_no_role_speaks_about_an_attempt_that_it_was_not_asked_about():
    accuses = Critic(lambda view: Feedback(score=0.5, subject=Subject.of(first_of(view))))
    result = await loop_of(verifiers=[], critic=accuses).run("q")
    first, second, *_ = result.tree.attempts
    assert [f.verdict for f in result.tree.about(first)] == [None]
    assert [f.verdict for f in result.tree.about(second)] == [Verdict.ABSTAIN]


@pytest.mark.parametrize("sees", [("answer",), ("answer", "reference")])
async def test_whether_a_critic_saw_the_reference_follows_from_what_it_is_shown(sees):
    claims = cl.critic(name="c", sees=sees)(lambda view: Feedback.passed(saw_reference="reference" not in sees))
    result = await loop_of(verifiers=[], critic=claims).run(cl.Task.of("q", reference="41"))
    assert {f.saw_reference for f in result.tree.feedback.values()} == {"reference" in sees}


async def test_a_shadow_that_is_an_object_disturbs_no_run():
    shadow = Critic(breaks)
    shadow.shadow = True
    agrees = cl.critic(name="agrees")(lambda view: True)
    result = await loop_of(verifiers=[], critic=[shadow, agrees]).run("q")
    assert result.decided_by == "critic"
    heard = {f.author: (f.verdict, f.advisory) for f in result.tree.feedback.values()}
    assert heard == {"c": (Verdict.ABSTAIN, True), "agrees": (Verdict.PASS, False)}


async def test_what_a_role_takes_back_in_its_own_words_is_kept_on_disk(tmp_path):
    says = Critic(lambda view: [Feedback.passed(id="#a"), Feedback.failed(supersedes="#a", rests_on=("#a",))])
    store = f"sqlite:///{tmp_path}/trees.db"
    async with loop_of(verifiers=[], critic=says, store=store) as loop:
        result = await loop.run("q", tree_id="t")
        stored = await loop.store.load("t")
    assert stored.feedback == result.tree.feedback
    assert [f.verdict for f in stored.about("t.1")] == [Verdict.FAIL]


UNJUDGED = {
    "advisory": lambda view: Feedback(preference=(1.0, 0.0), advisory=True),
    "one share": lambda view: Feedback(preference=(1.0,)),
    "nothing": lambda view: None,
    "a list": lambda view: [Feedback(preference=(1.0, 0.0))],
    "an error": breaks,
    "supersedes": lambda view: Feedback(preference=(1.0, 0.0), supersedes="zz"),
}


@pytest.mark.parametrize("said", UNJUDGED)
async def test_a_judge_that_cannot_be_understood_abstains_and_is_not_asked_again(said):
    asked = []

    def say(view):
        asked.append(tuple(a.id for a in view.pair))
        assert len(asked) < 50
        return UNJUDGED[said](view)

    actor = ScriptedModel([str(n) for n in range(9)])
    loop = cl.Loop("best-of-n", actor=actor, verifiers=[], judge=Judge(say), select="tournament")
    result = await loop.run("q")
    assert result.decided_by == "nobody"
    assert len(asked) == len(set(asked)) > 0
    assert {f.verdict for f in result.tree.feedback.values()} == {Verdict.ABSTAIN}


async def test_a_selection_that_asks_for_the_same_comparison_again_ends_the_run():
    def never_content(tree):
        first, second, *_ = tree.attempts
        return Compare(first, second)

    judge = Judge(lambda view: Feedback(preference=(1.0, 0.0)))
    loop = cl.Loop("best-of-n", actor=ScriptedModel(["1", "2"] * 9), judge=judge, select=never_content)
    with pytest.raises(SearchError, match="asks again"):
        await loop.run("q")


UNUSABLE_TURNS = {
    "too few": lambda views: [],
    "nothing": lambda views: None,
    "text": lambda views: ["42"],
    "neither answer nor tool call": lambda views: [Turn(messages=(assistant("hm"),))],
}


@pytest.mark.parametrize("driver", ["graph", "direct"])
@pytest.mark.parametrize("given", UNUSABLE_TURNS)
async def test_a_turn_from_which_nothing_follows_is_a_failed_attempt(given, driver):
    loop = loop_of(actor=Actor(UNUSABLE_TURNS[given]), verifiers=[], critic=Critic(lambda view: False))
    result = await loop.run("q", driver=driver)
    assert len(result.tree) > 0
    assert {a.status for a in result.tree} == {"failed"}
    assert all("actor 'a' returned" in a.error for a in result.tree)


@pytest.mark.parametrize("value", ["abc", object()])
async def test_an_answer_of_the_wrong_type_is_an_unreadable_one(value):
    actor = Actor(lambda views: [Turn(messages=(assistant("x"),), answer=Parsed(value)) for _ in views])
    result = await loop_of(actor=actor, output=int, verifiers=[], critic=Critic(lambda view: True)).run("q")
    assert result.answer is None
    assert {a.error_code for a in result.tree} == {"output"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"critic": Critic}, "is a class; an object is needed as critic"),
        ({"actor": Actor}, "is a class; an object is needed as actor"),
        ({"verifiers": [Verifier]}, "is a class; an object is needed as verifier"),
        ({"critic": type("Bare", (), {"critique": breaks})()}, "has no 'name'"),
        ({"verifiers": [Critic(breaks).critique]}, "cannot stand in as verifier"),
        ({"verifiers": [cl.critic(breaks).__call__]}, "cannot stand in as verifier"),
        ({"critic": [cl.Human("ann"), cl.Human("ann")]}, "called 'ann'"),
    ],
)
def test_what_is_no_such_role_is_refused_before_anything_is_asked(given, says):
    with pytest.raises(ConfigError, match=says):
        loop_of(**{"critic": Critic(breaks), **given})


@pytest.mark.parametrize(
    "fields", [{"subject": {"attempts": ["t.2"]}}, {"supersedes": "t.f1"}, {"rests_on": ["t.f1"]}]
)
def test_a_person_who_is_asked_about_an_attempt_speaks_about_it_alone(fields):
    with pytest.raises(UnreadableResponse, match="not about this attempt"):
        answers_in({"verdict": "pass", **fields}, ["t.1"], ["t.1"])
