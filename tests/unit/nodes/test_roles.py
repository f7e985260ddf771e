import asyncio
import functools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import critic_loop as cl
from critic_loop.core.abstain import is_job_error
from critic_loop.core.errors import (
    AuthFailed,
    ConfigError,
    ModelError,
    OutputError,
    SandboxUnavailable,
    StoreError,
    ToolError,
    Unreachable,
    VerifierError,
)
from critic_loop.core.functions import feedback_from
from critic_loop.core.messages import Reasoning, Text, assistant, user
from critic_loop.core.records import Feedback, Sampling, Task, Verdict
from critic_loop.outputs import output_of
from critic_loop.roles.function_actor import FunctionActor
from critic_loop.testing import ScriptedModel
from tests.unit.nodes.conftest import run_of, said_of, turns_of

TASK = Task(prompt=(user("?"),), reference="42", checks={"tests": "secret"})


class Patch(BaseModel):
    path: str
    lines: int = 1


# -- what a function may return --------------------------------------------------------------------


@given(st.booleans())
def test_a_bool_is_a_verdict_without_a_score(given):
    feedback = feedback_from(given)
    assert (feedback.verdict, feedback.score) == (Verdict.PASS if given else Verdict.FAIL, None)


@given(st.floats(0, 1) | st.sampled_from([0, 1]))
def test_a_number_is_a_score_without_a_verdict(given):
    feedback = feedback_from(given)
    assert (feedback.verdict, feedback.score) == (None, float(given))


def test_feedback_is_taken_as_it_is():
    given = Feedback.failed("no", score=0.2)
    assert feedback_from(given) is given


@given(
    st.floats(allow_nan=True).filter(lambda x: not 0 <= x <= 1)
    | st.sampled_from([math.nan, math.inf, -1, 2, None, "pass", b"", [], {}, (True,), 1j])
)
def test_anything_else_is_refused_with_what_is_expected(given):
    with pytest.raises(VerifierError, match="Return a Feedback, a bool, or a number from 0 to 1"):
        feedback_from(given)


# -- verifiers and critics -------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_verifier_sees_reference_checks_and_the_typed_answer(grown):
    grown.tree.head.__dict__["task"] = TASK
    draft = grown.attempt(answer="a")
    attempt = grown.attempt(
        draft, answer={"path": "x.py", "lines": 2}, messages=(assistant(Reasoning(text="hm")),)
    )
    seen = []

    @cl.verifier
    def look(view):
        seen.append(view)
        return True

    feedback = await said_of(await run_of(grown, output=output_of(Patch)), look, attempt)
    (view,) = seen
    assert feedback.verdict is Verdict.PASS
    assert (view.task.reference, view.task.checks) == ("42", {"tests": "secret"})
    assert view.answer == Patch(path="x.py", lines=2)
    assert [a.id for a in view.path] == [draft]
    assert view.attempt == grown.tree[attempt]


@pytest.mark.anyio
async def test_a_critic_sees_what_it_may(grown):
    grown.tree.head.__dict__["task"] = TASK
    draft = grown.attempt(answer="a")
    attempt = grown.attempt(draft, answer="b", messages=(assistant(Reasoning(text="hm"), Text(text="b")),))
    grown.verified(attempt, "fail", text="evidence")
    grown.say(attempt, verdict="fail", author="another")
    seen = []

    async def look(view):
        seen.append(view)
        return 0.5

    run = await run_of(grown)
    assert (await said_of(run, cl.critic(look), attempt)).score == 0.5
    sees = ("answer", "reference", "rejected", "verifier", "text", "reasoning")
    await said_of(run, cl.critic(sees=sees)(look), attempt)
    little, much = seen
    assert (little.task.reference, little.task.checks, little.answer, little.path) == (None, {}, "b", ())
    assert (little.feedback, little.attempt.messages) == ((), (assistant("b"),))
    assert (much.task.reference, much.task.checks) == ("42", {})
    assert [a.id for a in much.path] == [draft]
    assert [(f.author, f.text, f.verdict) for f in much.feedback] == [("answer", "evidence", None)]
    assert much.attempt.messages[0].parts[0] == Reasoning(text="hm")


@pytest.mark.anyio
async def test_a_seed_belongs_to_its_place(grown):
    one, other = grown.attempt(answer="a", seed=1), grown.attempt(answer="a", seed=2)
    run, seeds = await run_of(grown), []

    def look(view):
        seeds.append(view.seed)
        return True

    for attempt in (one, one, other):
        await said_of(run, cl.verifier(look), attempt)
    await said_of(run, cl.verifier(name="another")(look), one)
    assert seeds[0] == seeds[1]
    assert len(set(seeds)) == 3


@pytest.mark.anyio
async def test_what_a_function_raises_names_it(grown):
    attempt = grown.attempt(answer="1")
    run = await run_of(grown)

    @cl.verifier
    async def broken(view):
        return 1 / 0

    with pytest.raises(VerifierError, match="verifier 'broken': ZeroDivisionError"):
        await said_of(run, broken, attempt)
    with pytest.raises(VerifierError, match="returned 'yes'"):
        await said_of(run, cl.critic(lambda view: "yes"), attempt)


@pytest.mark.anyio
async def test_a_verifier_cannot_ask_a_model(grown):
    @cl.verifier
    async def lazy(view):
        return await view.ask("Is it right?")

    model = ScriptedModel(["yes"])
    with pytest.raises(VerifierError, match="verifier 'lazy' cannot ask a model: evidence is deterministic"):
        await said_of(await run_of(grown, model), lazy, grown.attempt(answer="1"))
    assert model.requests == []


@pytest.mark.anyio
async def test_a_critics_questions_are_recorded_and_typed(grown):
    @cl.critic(slot="judge", name="asker")
    async def asker(view):
        first = await view.ask("How many?", output=int)
        second = await view.ask("How many?", output=int)
        return Feedback(score=(first + second) / 10)

    attempt = grown.attempt(answer="1")
    model = ScriptedModel(["3", "4"])
    run = await run_of(grown, model)
    feedback = await said_of(run, asker, attempt)
    assert feedback.score == 0.7
    assert [grown.tree.calls[c].place.turn for c in feedback.calls] == [0, 1]
    assert [slot for slot, *_ in run.journal.slots.leases] == ["judge", "judge"]
    assert (await said_of(run, asker, attempt)).score == 0.7
    assert len(model.requests) == 2


@pytest.mark.anyio
async def test_questions_asked_at_once_stand_at_places_of_their_own(grown):
    @cl.critic
    async def asker(view):
        said = await asyncio.gather(view.ask("Well?"), view.ask("Well?"))
        return Feedback(text=" ".join(said), score=0.0)

    attempt, model = grown.attempt(answer="1"), ScriptedModel(["one", "two"])
    run = await run_of(grown, model)
    assert (await said_of(run, asker, attempt)).text == "one two"
    assert (await said_of(run, asker, attempt)).text == "one two"


@pytest.mark.anyio
async def test_a_reply_that_does_not_fit_is_an_output_error(grown):
    @cl.critic
    async def asker(view):
        return await view.ask("How many?", output=int)

    with pytest.raises(OutputError, match=r"the reply to 'How many\?' does not fit int"):
        await said_of(await run_of(grown, ScriptedModel(["many"])), asker, grown.attempt(answer="1"))


def test_names_settings_and_direct_calls():
    def plain(view):
        return view

    class Callable:
        def __call__(self, view):
            return True

    assert (cl.verifier(plain).name, cl.verifier(plain).source) == ("plain", "verifier")
    assert cl.verifier(name="other")(plain).name == "other"
    assert cl.verifier(functools.partial(plain)).name == "partial"
    assert cl.critic(Callable()).name == "Callable"
    made = cl.critic(name="n", sees=("text",), when="unverified", slot="s")(plain)
    assert (made.name, made.source, made.sees, made.when, made.slot) == (
        "n",
        "critic",
        ("text",),
        "unverified",
        "s",
    )


@pytest.mark.parametrize("error", [AuthFailed, ConfigError, StoreError, SandboxUnavailable])
def test_these_end_the_job_even_from_a_critic(error):
    assert is_job_error(error("x"))


@pytest.mark.parametrize("error", [Unreachable, ModelError, OutputError, ToolError, VerifierError])
def test_without_these_a_loop_goes_on(error):
    assert not is_job_error(error("x"))


# -- actors ----------------------------------------------------------------------------------------


async def act(grown, function, *, model=None, ask=None, **parts):
    run = await run_of(grown, model, **parts)
    ask = grown.tree.asks[ask or grown.ask()]
    (turn,) = await turns_of(run, FunctionActor(function, "mine"), (ask,))
    return turn


@pytest.mark.anyio
async def test_an_actors_text_is_parsed_and_its_value_checked(grown):
    async def text(view):
        return '{"path": "a.py"}'

    async def typed(view):
        return Patch(path="b.py", lines=2)

    async def message(view):
        return assistant(Reasoning(text="hm"), Text(text='{"path": "c.py"}'), sampled=True)

    patch = output_of(Patch)
    assert (await act(grown, text, output=patch)).answer.value == Patch(path="a.py")
    turn = await act(grown, typed, output=patch)
    assert turn.answer.value == Patch(path="b.py", lines=2)
    assert turn.messages == (assistant('{"path":"b.py","lines":2}'),)
    turn = await act(grown, message, output=patch)
    assert turn.answer.value == Patch(path="c.py")
    assert turn.messages[0].sampled


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize(
    ("value", "output"), [(None, Patch), (42, None), ({"x": 1}, Patch), (object(), Patch), ([], int)]
)
async def test_a_value_of_another_type_is_an_unreadable_answer(grown, value, output):
    turn = await act(grown, lambda view: value, output=output_of(output))
    assert not turn.answer.found
    assert f"{type(value).__name__} was returned" in turn.answer.reason
    assert turn.messages[0].role == "assistant"


@pytest.mark.anyio
async def test_an_actor_sees_what_its_ask_froze(grown):
    grown.tree.head.__dict__["task"] = TASK
    draft = grown.attempt(answer="a", messages=(assistant(Reasoning(text="hm"), Text(text="a")),))
    grown.say(draft, verdict="fail", text="no")
    ask = grown.ask(draft, show=("text",))
    grown.say(draft, verdict="pass", text="too late")
    seen = []
    await act(grown, lambda view: seen.append(view) or "b", ask=ask)
    (view,) = seen
    assert (view.task.reference, view.task.checks, view.answer, view.attempt) == (None, {}, None, None)
    assert [a.messages for a in view.path] == [(assistant("a"),)]
    assert [(f.text, f.verdict) for f in view.feedback] == [("no", None)]


@pytest.mark.anyio
async def test_an_actor_may_ask_its_slot(grown):
    async def asking(view):
        return await view.ask("What is 6 * 7?") + "!"

    turn = await act(grown, asking, model=ScriptedModel(["42"]))
    assert turn.answer.value == "42!"
    assert [grown.tree.replies[c].status for c in turn.calls] == ["ok"]


@pytest.mark.anyio
async def test_an_actor_that_raises_is_a_model_error(grown):
    with pytest.raises(ModelError, match="actor 'mine': ZeroDivisionError"):
        await act(grown, lambda view: 1 / 0)


# -- several asks, seeds and masks -----------------------------------------------------------------


@pytest.mark.anyio
async def test_an_error_in_one_ask_leaves_the_others_answers(grown):
    asks = tuple(grown.tree.asks[grown.ask(seed=n)] for n in range(3))
    begun, all_begun = [], asyncio.Event()

    async def some(view):
        begun.append(view)
        if len(begun) == 3:
            all_begun.set()
        await asyncio.wait_for(all_begun.wait(), 5)
        return str(1 // view.seed)

    broken, one, two = await turns_of(await run_of(grown), FunctionActor(some, "mine"), asks)
    assert isinstance(broken, ModelError)
    assert (one.answer.value, two.answer.value) == ("1", "0")


@pytest.mark.anyio
async def test_what_is_no_error_of_ours_passes(grown):
    asks = tuple(grown.tree.asks[grown.ask()] for _ in range(2))

    async def cancelled(view):
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await turns_of(await run_of(grown), FunctionActor(cancelled, "mine"), asks)


@pytest.mark.anyio
async def test_each_question_of_a_function_has_a_seed_of_its_place(grown):
    async def asking(view):
        return await view.ask("?") + await view.ask("?")

    model = ScriptedModel(lambda request: "x")
    ask = [grown.ask(seed=n) for n in (1, 2)]
    for one in ask:
        await act(grown, asking, model=model, ask=one)
    seeds = [request.sampling.seed for request in model.requests]
    assert None not in seeds
    assert len(set(seeds)) == 4

    model = ScriptedModel(lambda request: "x")
    fixed = grown.ask(sampling=Sampling(seed=7, temperature=0.3))
    await act(grown, asking, model=model, ask=fixed)
    assert [r.sampling for r in model.requests] == [Sampling(seed=7, temperature=0.3)] * 2


@pytest.mark.anyio
async def test_a_critics_questions_have_seeds(grown):
    @cl.critic
    async def asker(view):
        return float(await view.ask("?")) + float(await view.ask("?"))

    model = ScriptedModel(lambda request: "0.1")
    await said_of(await run_of(grown, model), asker, grown.attempt(answer="1"))
    first, second = (request.sampling.seed for request in model.requests)
    assert first is not None
    assert first != second


@pytest.mark.anyio
async def test_a_critic_without_answer_in_sees_is_not_shown_it(grown):
    seen = []
    attempt = grown.attempt(answer="SECRET")
    made = cl.critic(sees=("verdict",))(lambda view: seen.append(view) or True)
    await said_of(await run_of(grown), made, attempt)
    assert seen[0].answer is None
    assert seen[0].attempt.id == attempt
    assert "SECRET" not in seen[0].attempt.model_dump_json()


@pytest.mark.anyio
async def test_nobody_walks_a_path_that_is_not_looked_at(grown, monkeypatch):
    attempt = grown.attempt(grown.attempt(answer="a"), answer="b")
    run = await run_of(grown)
    monkeypatch.setattr(type(grown.tree), "path", lambda *_: pytest.fail("the path was walked"))
    for made in (cl.verifier(lambda view: True), cl.critic(lambda view: True)):
        assert (await said_of(run, made, attempt)).verdict is Verdict.PASS
