"""Verifiers, critics, graders, judges and actors are types of their own: none stands in another's place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import critic_loop as cl
from critic_loop.core.errors import AuthFailed, ConfigError, CreditExhausted, VerifierError
from critic_loop.core.functions import feedback_from
from critic_loop.core.messages import assistant
from critic_loop.core.protocols import Parsed
from critic_loop.core.records import Location
from critic_loop.core.roles import Turn
from critic_loop.testing import ScriptedModel

pytestmark = pytest.mark.anyio

RIGHT, WRONG = "Yes.\nVerdict: correct", "No.\nVerdict: wrong"


@cl.critic
def likes(view: cl.View[str]) -> bool:
    return True


@cl.verifier
def even(view: cl.View[str]) -> bool:
    return int(view.answer or 1) % 2 == 0


@cl.grader
def exact(view: cl.View[str]) -> bool:
    return view.answer == view.task.held_out["exact"]


def loop(**parts: Any) -> cl.Loop[str]:
    parts = {"actor": ScriptedModel(["42"]), "critic": ScriptedModel([RIGHT]), "verifiers": [], **parts}
    return cl.Loop("refine", **parts)


# -- who may stand where ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "message", "hint"),
    [
        (
            {"verifiers": [likes]},
            "critic 'likes' cannot stand in as verifier: what it says is opinion",
            "critic=...",
        ),
        (
            {"critic": even},
            "verifier 'even' cannot stand in as critic: what it says is evidence",
            "verifiers=[...]",
        ),
        ({"critic": [even]}, "verifier 'even' cannot stand in as critic", "verifiers=[...]"),
        (
            {"verifiers": [exact]},
            "grader 'exact' cannot stand in as verifier: what it says is truth",
            "add_feedback",
        ),
        ({"critic": exact}, "grader 'exact' cannot stand in as critic", "once the loop has ended"),
        ({"actor": likes}, "critic 'likes' cannot stand in as actor", "critic=..."),
        ({"actor": even}, "verifier 'even' cannot stand in as actor", "verifiers=[...]"),
        ({"judge": even}, "verifier 'even' cannot stand in as judge", "verifiers=[...]"),
        ({"verifiers": [cl.Human()]}, "critic 'human' cannot stand in as verifier", "critic=..."),
        ({"verifiers": [ScriptedModel([])]}, "is not a verifier: evidence is deterministic", "critic=..."),
        ({"verifiers": [7]}, "7 is not a verifier", "a function of a View"),
    ],
)
def test_a_role_in_another_roles_place_is_refused_with_what_to_write(
    parts: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        loop(**parts)
    assert hint in caught.value.hint


@pytest.mark.parametrize("decorate", [cl.verifier, cl.grader, cl.critic(name="x")])
def test_a_function_becomes_one_role(decorate: Any) -> None:
    made = {"verifier": likes, "grader": even, "critic": exact}
    role = getattr(decorate, "__name__", "critic") if decorate in (cl.verifier, cl.grader) else "critic"
    with pytest.raises(ConfigError, match=f"cannot stand in as {role}"):
        decorate(made[role])


# -- feedback that is added later ------------------------------------------------------------------


@pytest.mark.parametrize(("role", "source"), [(even, "verifier"), (exact, "grader"), (likes, "critic")])
async def test_feedback_added_later_keeps_its_kind_and_author(role: Any, source: str) -> None:
    task = cl.Task.of("What is 6 * 7?", held_out={"exact": "42"})
    async with loop() as made:
        result = await made.run(task)
        attempt = result.tree[result.attempt_id or ""]
        view = cl.View(task=task, answer=result.answer, attempt=attempt)
        added = await made.store.add_feedback(attempt.id, await role(view))
    assert (added.source, added.author, added.verdict) == (source, role.name, cl.Verdict.PASS)


async def test_feedback_without_an_author_is_refused_and_nothing_is_written() -> None:
    async with loop() as made:
        result = await made.run("What is 6 * 7?")
        with pytest.raises(ConfigError, match="has no author") as caught:
            await made.store.add_feedback(result.attempt_id or "", cl.Feedback.passed("fine"))
        assert "Feedback.user" in caught.value.hint
        again = await made.store.load(result.tree.id)
    assert len(again.feedback) == len(result.tree.feedback)


# -- several remarks -------------------------------------------------------------------------------


async def test_each_remark_of_a_function_critic_is_a_feedback_where_it_says() -> None:
    @cl.critic
    def remarks(view: cl.View[str]) -> list[Any]:
        return [
            cl.Feedback.failed("No proof.", subject=view.at(step=1)),
            cl.Feedback(text="Too long.", subject=view.at(message=0, start=0, end=2)),
            0.25,
        ]

    actor = ScriptedModel(["42", "43"])
    result = await loop(actor=actor, critic=remarks, stop=cl.MaxRounds(2)).run("?")
    said = [
        f for f in result.tree.feedback.values() if f.subject and f.subject.attempts == (result.tree.roots[0],)
    ]
    places = [f.subject.location for f in said if f.subject]
    assert places == [Location(step=1), Location(message=0, start=0, end=2), None]
    assert [(f.author, f.source, f.supersedes) for f in said] == [("remarks", "critic", None)] * 3
    assert cl.value_of(result.tree, result.tree.roots[0]).opinion == 0.25, "a remark on a place judges no whole"


async def test_no_remark_is_an_abstention_and_the_loop_ends() -> None:
    silent = cl.critic(name="silent")(lambda view: [])
    result = await loop(critic=silent, stop=cl.MaxRounds(1)).run("?")
    [said] = result.tree.feedback.values()
    assert (said.verdict, said.reason) == (cl.Verdict.ABSTAIN, "it returned no remark")
    assert result.verdict is cl.Verdict.ABSTAIN


def test_a_place_needs_an_attempt() -> None:
    with pytest.raises(ConfigError, match="no attempt is under judgement"):
        cl.View(task=cl.Task.of("?")).at(step=1)


class Scalar:
    """A number of another library: NumPy's scalars and arrays of one have these two."""

    def __init__(self, value: object, size: int = 1) -> None:
        self.value, self.size = value, size

    def item(self) -> object:
        return self.value


@pytest.mark.parametrize(
    ("given", "verdict", "score"),
    [
        (Decimal("0.25"), None, 0.25),
        (Fraction(1, 4), None, 0.25),
        (Scalar(value=True), cl.Verdict.PASS, None),
        (Scalar(value=0.5), None, 0.5),
    ],
)
def test_numbers_of_other_libraries_are_read_as_what_they_are(given: Any, verdict: Any, score: Any) -> None:
    said = feedback_from(given)
    assert (said.verdict, said.score) == (verdict, score)


@pytest.mark.parametrize("given", ["yes", None, 1.5, Scalar(0.5, size=2), Decimal("NaN"), cl.Task.of("x")])
def test_anything_else_names_its_type(given: Any) -> None:
    with pytest.raises(VerifierError, match=f"a {type(given).__name__}"):
        feedback_from(given)


# -- objects that fit ------------------------------------------------------------------------------


@dataclass
class Length:
    """A verifier of another package: it knows `core` alone."""

    most: int
    name: str = "length"
    steps: bool = False
    pairs: bool = False

    async def verify(self, view: cl.View[str]) -> cl.Feedback:
        return (
            cl.Feedback.passed(produced_by="length 2")
            if len(view.answer or "") <= self.most
            else cl.Feedback.failed()
        )


@dataclass
class Polite:
    """A critic of another package that asks its slot."""

    name: str = "polite"
    slot: str = "critic"
    sees: tuple[str, ...] = ("answer",)
    when: str = "always"
    shadow: bool = False

    async def critique(self, view: cl.View[str]) -> Sequence[cl.Feedback]:
        return [cl.Feedback(score=0.5, text=await view.ask(f"Polite? {view.answer}"), calls=view.models.calls)]


@dataclass
class Counting:
    """An actor of another package."""

    name: str = "counting"
    seen: list[int] = field(default_factory=list)

    async def act(self, views: Sequence[cl.View[str]]) -> list[Turn]:
        self.seen.append(len(views))
        said = [str(len(view.path)) * 3 for view in views]
        return [Turn(messages=(assistant(text),), answer=Parsed(text)) for text in said]


@dataclass
class Longer:
    """A judge of another package."""

    name: str = "longer"
    slot: str = "judge"

    async def compare(self, view: cl.View[str]) -> cl.Feedback:
        first, second = (len(str(attempt.answer)) for attempt in view.pair)
        return cl.Feedback(preference=(float(first > second), float(first <= second)))


async def test_objects_that_fit_play_their_role() -> None:
    critic = ScriptedModel(lambda request: "Quite.")
    made = loop(
        actor=Counting(), critic=Polite(), verifiers=[Length(2)], slots={"critic": critic}, stop=cl.MaxRounds(2)
    )
    result = await made.run("?")
    assert [a.answer for a in result.tree] == ["000", "111"]
    by_author = {f.author: f for f in result.tree.feedback.values()}
    assert (by_author["length"].verdict, by_author["length"].source) == (cl.Verdict.FAIL, "verifier")
    assert (by_author["polite"].text, len(by_author["polite"].calls)) == ("Quite.", 1)
    assert all(f.request_probability == 1.0 for f in result.tree.feedback.values())


async def test_a_judge_of_ones_own_compares() -> None:
    made = cl.Loop(
        "best-of-n", actor=ScriptedModel(["aaa", "b"]), search="sample", verifiers=[], judge=Longer(), lanes=1,
        select="keep-if-better", stop=cl.MaxAttempts(2),
    )  # fmt: skip
    result = await made.run("?")
    assert (result.answer, result.decided_by) == ("aaa", "judge")


class Shorter:
    """A verifier that is no dataclass; what it remembers is no setting."""

    name, steps, pairs = "shorter", False, False

    def __init__(self, than: int) -> None:
        self.than = than
        self._seen: list[str] = []

    async def verify(self, view: cl.View[str]) -> bool:
        self._seen.append(view.answer or "")
        return len(view.answer or "") < self.than


async def test_settings_of_an_object_count_and_what_it_remembers_does_not() -> None:
    shorter = Shorter(3)
    before = loop(verifiers=[shorter]).parts.digest
    await loop(verifiers=[shorter], stop=cl.MaxRounds(1)).run("?")
    assert loop(verifiers=[shorter]).parts.digest == before == loop(verifiers=[Shorter(3)]).parts.digest
    assert before != loop(verifiers=[Shorter(4)]).parts.digest


@pytest.mark.parametrize("change", [{"verifiers": [Length(3)]}, {"critic": Polite(sees=())}])
async def test_settings_of_a_role_enter_the_loops_identity(change: dict[str, Any], tmp_path: Any) -> None:
    parts = {"verifiers": [Length(2)], "critic": Polite(), "slots": {"critic": ScriptedModel([])}}
    assert loop(**parts).parts.digest != loop(**{**parts, **change}).parts.digest
    assert loop(**parts).parts.digest == loop(**parts).parts.digest


# -- lifetime and scratch folder -------------------------------------------------------------------


@dataclass
class Compiler:
    """A verifier that starts something once, and keeps notes for each tree."""

    name: str = "compiler"
    steps: bool = False
    pairs: bool = False
    fails: bool = False
    log: list[str] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)

    async def __aenter__(self) -> Compiler:
        if self.fails:
            raise RuntimeError("no compiler here")
        self.log.append("open")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.log.append("closed")

    async def verify(self, view: cl.View[str]) -> cl.Feedback:
        notes = view.scratch / "notes"
        notes.write_text(notes.read_text() + "x" if notes.exists() else "x")
        self.log.append(notes.read_text())
        self.folders.append(view.scratch)
        return cl.Feedback.failed("again")


@pytest.mark.parametrize("driver", ["graph", "direct"])
async def test_a_role_is_open_for_the_loop_and_its_folder_for_the_tree(driver: Any) -> None:
    compiler = Compiler()
    model = ScriptedModel(lambda request: "42")
    async with loop(
        actor=model, critic=ScriptedModel(lambda r: WRONG), verifiers=[compiler], stop=cl.MaxRounds(2)
    ) as made:
        for task in ("one", "two"):
            await made.run(task, driver=driver)
        assert compiler.log == ["open", "x", "xx", "x", "xx"]
        assert len(set(compiler.folders)) == 2
        assert not any(folder.exists() for folder in compiler.folders), "deleted with the tree's run"
    assert compiler.log[-1] == "closed"


async def test_a_role_that_cannot_be_opened_abstains_and_says_why() -> None:
    async with loop(verifiers=[Compiler(fails=True)]) as made:
        result = await made.run("?")
    said = next(f for f in result.tree.feedback.values() if f.source == "verifier")
    assert said.verdict is cl.Verdict.ABSTAIN
    assert said.reason == "verifier 'compiler' cannot be opened: RuntimeError: no compiler here"


def test_a_view_outside_a_loop_has_no_folder() -> None:
    with pytest.raises(ConfigError, match="no loop runs it"):
        _ = cl.View(task=cl.Task.of("?")).scratch


# -- objects that fail -----------------------------------------------------------------------------


@dataclass
class Broken:
    """Plays any role of another package, and fails in each."""

    raised: Any = field(default_factory=lambda: ZeroDivisionError("by zero"))
    name: str = "broken"

    async def _fail(self, view: Any) -> Any:
        if isinstance(self.raised, Exception):
            raise self.raised
        return self.raised


class BrokenVerifier(Broken):
    steps = pairs = False
    verify = Broken._fail


class BrokenCritic(Broken):
    slot, sees, when, shadow = "critic", ("answer",), "always", False
    critique = Broken._fail


class BrokenJudge(Broken):
    slot = "judge"
    compare = Broken._fail


@pytest.mark.parametrize(
    ("parts", "source", "reason"),
    [
        ({"verifiers": [BrokenVerifier()]}, "verifier", "verifier 'broken': ZeroDivisionError: by zero"),
        ({"critic": BrokenCritic()}, "critic", "critic 'broken': ZeroDivisionError: by zero"),
        ({"verifiers": [BrokenVerifier("fine")]}, "verifier", "returned 'fine', a str. Return a Feedback"),
    ],
)
async def test_what_an_object_raises_or_wrongly_returns_is_an_abstention(
    parts: dict[str, Any], source: str, reason: str
) -> None:
    result = await loop(**parts, stop=cl.MaxRounds(1)).run("?")
    [said] = [f for f in result.tree.feedback.values() if f.author == "broken"]
    assert (said.source, said.verdict, said.score) == (source, cl.Verdict.ABSTAIN, None)
    assert reason in said.reason
    assert result.answer == "42"


async def test_an_object_may_return_what_a_function_may() -> None:
    result = await loop(verifiers=[BrokenVerifier(raised=True)], stop=cl.MaxRounds(1)).run("?")
    assert (result.verdict, result.decided_by) == (cl.Verdict.PASS, "verifier")


async def test_what_a_judge_raises_is_an_abstention() -> None:
    made = cl.Loop(
        "best-of-n", actor=ScriptedModel(["aaa", "b"]), search="sample", verifiers=[], judge=BrokenJudge(),
        lanes=1, select="keep-if-better", stop=cl.MaxAttempts(2),
    )  # fmt: skip
    result = await made.run("?")
    judged = [f for f in result.tree.feedback.values() if f.source == "judge"]
    assert judged
    assert {f.reason for f in judged} == {"judge 'broken': ZeroDivisionError: by zero"}


@pytest.mark.parametrize("error", [AuthFailed("no key"), CreditExhausted("empty")])
async def test_what_ends_the_job_passes_through_a_role(error: Exception) -> None:
    with pytest.raises(type(error)):
        await loop(verifiers=[BrokenVerifier(error)]).run("?")
