"""Planted trees written by hand: shapes that a scripted loop would not come to by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from critic_loop.core.messages import Message, ToolCall, ToolResult, assistant
from critic_loop.core.records import Event, Feedback, Location, Outcome, Subject, Task, Verdict
from critic_loop.core.tree import Tree
from tests.conftest import Grown

PASS, FAIL, ABSTAIN = Verdict.PASS, Verdict.FAIL, Verdict.ABSTAIN


def grown(name: str, task: str | Task = "What is 6 * 7?") -> Grown:
    return Grown(task, tree=name)


def end(g: Grown, chosen: str | None, decided_by: str, stop: str, **fields: Any) -> None:
    g.tree.append(Outcome(chosen=chosen, decided_by=decided_by, stop=stop, select="by hand", **fields))


def rejects(g: Grown, attempt: str, text: str = "No.", **fields: Any) -> str:
    return g.say(attempt, verdict=FAIL, score=0.1, text=text, **fields)


def accepts(g: Grown, attempt: str, text: str = "Yes.", **fields: Any) -> str:
    return g.say(attempt, verdict=PASS, score=0.9, text=text, **fields)


def user_says(g: Grown, attempt: str, score: float, text: str = "") -> str:
    return g.say(attempt, source="user", author="user", score=score, text=text)


def cannot_judge(g: Grown, attempt: str, reason: str, **fields: Any) -> str:
    given = {"source": "verifier", "author": "unit_tests", **fields}
    return g.say(attempt, verdict=ABSTAIN, reason=reason, **given)


def unreadable(g: Grown, *parents: str, text: str = "I would rather talk about the weather.") -> str:
    attempt = g.attempt(*parents, text=text, error="no JSON object was found", error_code="output")
    g.verified(attempt, "fail", author="output", parse="unparsed", text="no JSON object was found")
    return attempt


def garbled(g: Grown, attempt: str) -> str:
    return g.say(attempt, verdict=ABSTAIN, parse="unparsed", reason="there is no line 'Verdict: ...'")


# -- never found -----------------------------------------------------------------------------------


def never_single() -> Tree:
    """One attempt, no search at all."""
    g = grown("never-single")
    only = g.attempt(answer="41")
    g.verified(only, "fail", score=0.0)
    end(g, only, "verifier", "exhausted")
    return g.tree


def never_late_people() -> Tree:
    """Nobody knew at run time; people said days later that both were wrong."""
    g = grown("never-late-people", "Translate: the early bird catches the worm.")
    first = g.attempt(answer="L'oiseau mange.")
    rejects(g, first, "It is no proverb.")
    second = g.attempt(first, answer="Le ver attrape l'oiseau.")
    rejects(g, second, "Still no proverb.")
    end(g, second, "critic", "max_rounds")
    g.say(first, source="human", author="ana", verdict=FAIL, text="That is not what it says.")
    user_says(g, second, 0.0, "upside down")
    return g.tree


def never_tools_shadow() -> Tree:
    """Typed answers after tool calls; a shadow critic liked them, and nobody listened."""
    g = grown("never-tools-shadow", "How many files are in the folder?")
    last: tuple[str, ...] = ()
    for number in range(3):
        attempt = g.ask(*last)
        call = ToolCall(id=f"c{number}", name="ls", arguments={"path": "."}, arguments_text='{"path":"."}')
        heard = Message(role="tool", parts=(ToolResult.of("a b c", call_id=f"c{number}", name="ls"),))
        said = assistant(f'{{"files": {number}}}', sampled=True)
        messages = (assistant(call, sampled=True), heard, said)
        g.settle(attempt, {"files": number}, messages=messages)
        g.verified(attempt, "fail", score=0.0, text="there are three")
        accepts(g, attempt, author="shadow", advisory=True)
        last = (attempt,)
    end(g, last[0], "verifier", "max_rounds")
    return g.tree


# -- found, not selected ---------------------------------------------------------------------------


def passed_over_by_judge() -> Tree:
    """The pairwise judge preferred the wrong one in both orders; the user knew better later."""
    g = grown("passed-over-by-judge", "Write a haiku.")
    first, second = g.attempt(answer="five, seven, five"), g.attempt(answer="a sonnet")
    for pair in ((first, second), (second, first)):
        shares = tuple(float(i == second) for i in pair)
        g.say(*pair, source="judge", author="pairwise", preference=shares, text="The sonnet is richer.")
    end(g, second, "judge", "exhausted")
    user_says(g, second, 0.0, "I asked for a haiku.")
    user_says(g, first, 1.0, "This one.")
    return g.tree


def passed_over_shadow_tests() -> Tree:
    """Hidden tests, in the shadow, passed the draft; the critic scored the revision higher."""
    g = grown("passed-over-shadow-tests", "Write abs().")
    draft = g.attempt(answer="return x if x > 0 else -x")
    g.verified(draft, "pass", author="hidden_tests", advisory=True)
    g.say(draft, score=0.6, text="Correct, if terse.")
    longer = g.attempt(draft, answer="return max(x, 0)")
    g.verified(longer, "fail", author="hidden_tests", advisory=True, text="abs(-2) is 0")
    g.say(longer, score=0.8, text="Elegant.")
    end(g, longer, "critic", "plateau")
    return g.tree


def passed_over_superseded() -> Tree:
    """The verifier had abstained, and was run again when the machine was back. Typed answers."""
    g = grown("passed-over-superseded")
    samples = [g.attempt(answer={"n": n}) for n in (40, 42, 40)]
    abstained = [cannot_judge(g, s, "the sandbox was down") for s in samples]
    end(g, samples[0], "vote", "exhausted")
    for sample, before, right in zip(samples, abstained, (False, True, False), strict=True):
        g.verified(sample, "pass" if right else "fail", author="unit_tests", supersedes=before)
    return g.tree


# -- broken by critique ----------------------------------------------------------------------------


def broken_long_chain() -> Tree:
    """The third of five was right; the critic talked the actor out of it."""
    g = grown("broken-long-chain")
    last: tuple[str, ...] = ()
    ids = []
    for answer in ("40", "41", "42", "43", "44"):
        attempt = g.attempt(*last, answer=answer)
        rejects(g, attempt, f"{answer} is off.")
        ids.append(attempt)
        last = (attempt,)
    end(g, ids[-1], "critic", "max_rounds")
    user_says(g, ids[-1], 0.0)
    user_says(g, ids[2], 1.0, "It was 42.")
    return g.tree


def broken_one_branch() -> Tree:
    """Two drafts, each refined: in the second branch a right answer was revised away."""
    g = grown("broken-one-branch")
    left = g.attempt(answer="1")
    right = g.attempt(answer="42")
    for attempt, wrong in ((left, "Far off."), (right, "Six times seven is not 42.")):
        rejects(g, attempt, wrong)
    left_again = g.attempt(left, answer="2")
    rejects(g, left_again)
    right_again = g.attempt(right, answer="48")
    accepts(g, right_again)
    end(g, right_again, "critic", "exhausted")
    for attempt, verdict in ((left, "fail"), (right, "pass"), (left_again, "fail"), (right_again, "fail")):
        g.verified(attempt, verdict)
    return g.tree


def broken_by_flawed_tests() -> Tree:
    """The verifier itself was wrong; its mended version says so later on both attempts."""
    g = grown("broken-by-flawed-tests", "Write double().")
    good = g.attempt(answer="return x * 2")
    flawed = g.verified(good, "fail", author="unit_tests", text="double(3) == 5 failed: got 6")
    bad = g.attempt(good, answer="return x + 2")
    passed = g.verified(bad, "pass", author="unit_tests")
    end(g, bad, "verifier", "verified")
    g.verified(good, "pass", author="unit_tests", supersedes=flawed)
    g.verified(bad, "fail", author="unit_tests", supersedes=passed, text="double(3) == 6 failed: got 5")
    return g.tree


def broken_by_a_remark() -> Tree:
    """The rejection was about one step of the answer; in Chinese; then nested once more."""
    g = grown("broken-by-a-remark", "鸡兔同笼,共有三十五个头,九十四只脚。问鸡兔各几何?")
    good = g.attempt(answer={"鸡": 23, "兔": 12})
    part = Subject(attempts=(good,), location=Location(step=1))
    g.tree.append(
        Feedback(
            id=g.tree.next_feedback_id(), subject=part, source="critic", author="stepwise", verdict=FAIL,
            text="第二步有误。", first_error=1,
        )
    )  # fmt: skip
    bad = g.attempt(good, answer={"鸡": 22, "兔": 13})
    worse = g.attempt(bad, answer={"鸡": 21, "兔": 14})
    accepts(g, worse, "对。")
    end(g, worse, "critic", "accepted")
    user_says(g, worse, 0.0, "不对")
    user_says(g, good, 1.0, "第一个才对")
    return g.tree


# -- false accept ----------------------------------------------------------------------------------


def accepted_single() -> Tree:
    """Hidden tests in the shadow failed what the critic accepted at once."""
    g = grown("accepted-single")
    only = g.attempt(answer="41")
    accepts(g, only, "Correct: six sevens.")
    g.verified(only, "fail", author="hidden_tests", advisory=True)
    end(g, only, "critic", "accepted")
    return g.tree


def accepted_samples() -> Tree:
    """Four samples; the critic kept two of them; all four were wrong, as a verifier found later."""
    g = grown("accepted-samples")
    samples = [g.attempt(answer=answer) for answer in ("41", "41", "40", "39")]
    for sample, verdict in zip(samples, (PASS, PASS, FAIL, FAIL), strict=True):
        g.say(sample, verdict=verdict, text="as I see it")
    end(g, samples[0], "vote", "exhausted")
    for sample in samples:
        g.verified(sample, "fail")
    return g.tree


def accepted_by_weak_tests() -> Tree:
    """The verifier let it pass; the user did not."""
    g = grown("accepted-by-weak-tests", "Fix issue 41.")
    draft = g.attempt(answer="patch 1")
    g.verified(draft, "fail", author="unit_tests", text="1 of 9 tests fails")
    patch = g.attempt(draft, answer="patch 2: the failing test is skipped")
    g.verified(patch, "pass", author="unit_tests", text="8 of 8 tests pass")
    end(g, patch, "verifier", "verified")
    user_says(g, patch, 0.0, "You switched the test off!")
    return g.tree


def accepted_against_reference() -> Tree:
    """A judge who was shown the reference contradicts the critic who was not."""
    g = grown("accepted-against-reference", Task.of("Capital of Australia?", reference="Canberra"))
    first = g.attempt(answer="Melbourne")
    rejects(g, first, "It was, until 1927.")
    second = g.attempt(first, answer="Sydney")
    accepts(g, second, "The largest city, and the capital.")
    end(g, second, "critic", "accepted")
    for attempt in (first, second):
        g.say(attempt, source="judge", author="grader", verdict=FAIL, saw_reference=True, text="Canberra.")
    return g.tree


# -- unparsed --------------------------------------------------------------------------------------


def unreadable_single() -> Tree:
    g = grown("unreadable-single")
    only = unreadable(g)
    end(g, only, "verifier", "exhausted")
    return g.tree


def unreadable_samples() -> Tree:
    """Three of four could not be read; the one that could is wrong."""
    g = grown("unreadable-samples")
    for _ in range(3):
        unreadable(g)
    read = g.attempt(answer={"n": 41})
    g.verified(read, "fail")
    end(g, read, "verifier", "exhausted")
    return g.tree


def unreadable_critiques_late_user() -> Tree:
    """No critique could be read, so nothing guided the revisions; the user confirms the rest."""
    g = grown("unreadable-critiques-late-user")
    last: tuple[str, ...] = ()
    for answer in ("39", "40", "41"):
        attempt = g.attempt(*last, answer=answer)
        garbled(g, attempt)
        last = (attempt,)
    end(g, last[0], "nobody", "max_rounds")
    user_says(g, last[0], 0.0, "no")
    return g.tree


# -- the verifier abstained ------------------------------------------------------------------------


def abstained_samples() -> Tree:
    """Samples and a vote; the sandbox was down for all of them."""
    g = grown("abstained-samples", "Write abs().")
    samples = [g.attempt(answer=answer) for answer in ("return x", "return abs(x)", "return x")]
    for sample in samples:
        cannot_judge(g, sample, "docker: cannot connect to the daemon")
    end(g, samples[0], "vote", "exhausted")
    return g.tree


def abstained_two_verifiers() -> Tree:
    """Both verifiers passed the question on; the critic's word was the only one."""
    g = grown("abstained-two-verifiers")
    draft = g.attempt(answer="forty-two, or so")
    cannot_judge(g, draft, "not a number")
    cannot_judge(g, draft, "no unit", author="units")
    rejects(g, draft, "Or so?")
    final = g.attempt(draft, answer="forty-two")
    cannot_judge(g, final, "not a number")
    cannot_judge(g, final, "no unit", author="units")
    accepts(g, final)
    end(g, final, "critic", "accepted")
    return g.tree


def abstained_most() -> Tree:
    """One attempt was failed, the two others could not be judged, one of them again in vain."""
    g = grown("abstained-most")
    first = g.attempt(answer={"n": 1})
    g.verified(first, "fail", author="unit_tests")
    second = g.attempt(first, answer={"n": 2})
    cannot_judge(g, second, "timeout after 10 s")
    third = g.attempt(second, answer={"n": 3})
    before = cannot_judge(g, third, "timeout after 10 s")
    cannot_judge(g, third, "timeout after 60 s", supersedes=before)
    end(g, third, "nobody", "max_rounds")
    return g.tree


# -- budget ----------------------------------------------------------------------------------------


def budget_time() -> Tree:
    """Time was up with a third attempt in flight."""
    g = grown("budget-time")
    first = g.attempt(answer="39")
    g.verified(first, "fail")
    second = g.attempt(first, answer="40")
    g.verified(second, "fail")
    g.ask(second)
    end(g, second, "verifier", "elapsed", stop_text="20 s have passed")
    return g.tree


def budget_before_the_first() -> Tree:
    """Nothing was left for even one answer."""
    g = grown("budget-before-the-first")
    g.ask()
    end(g, None, "nobody", "budget", stop_text="the budget has no call left")
    return g.tree


def budget_steps_in_tools() -> Tree:
    """A host's steps ran out in the middle of the second attempt's tool calls."""
    g = grown("budget-steps-in-tools")
    first = g.attempt(answer="40")
    rejects(g, first)
    second = g.ask(first)
    call = ToolCall(id="c1", name="calculator", arguments={"of": "6*7"}, arguments_text='{"of":"6*7"}')
    g.settle(second, messages=(assistant(call, sampled=True),), status="partial")
    end(g, first, "critic", "steps", stop_text="the host's recursion limit is reached")
    return g.tree


# -- nothing to explain, or nothing known ----------------------------------------------------------


def solved_late() -> Tree:
    """No critic, no verifier: the user says that it was right."""
    g = grown("solved-late")
    only = g.attempt(answer="42")
    end(g, only, "nobody", "exhausted")
    user_says(g, only, 1.0, "thanks")
    return g.tree


def solved_after_all() -> Tree:
    """Parked, resumed by a person's word, and right; with budget spent on the way: only the end counts."""
    g = grown("solved-after-all")
    attempt = g.ask()
    g.settle(attempt, "42", status="parked")
    g.tree.append(Event(kind="park", at=1.0, data={"attempt": attempt}))
    end(g, None, "nobody", "parked")
    g.say(attempt, source="human", author="human", verdict=PASS)
    g.settle(attempt, "42")
    end(g, attempt, "critic", "accepted")
    return g.tree


def still_parked() -> Tree:
    g = grown("still-parked")
    first = g.attempt(answer="41")
    g.verified(first, "fail")
    second = g.ask(first)
    g.settle(second, "42", status="parked")
    end(g, first, "verifier", "parked")
    return g.tree


def still_running() -> Tree:
    g = grown("still-running")
    first = g.attempt(answer="41")
    rejects(g, first)
    g.ask(first)
    return g.tree


def opinion_only() -> Tree:
    """Accepted by a critic; nobody who knows has said a word."""
    g = grown("opinion-only", "Write a slogan.")
    first = g.attempt(answer="Trees all the way down.")
    accepts(g, first)
    end(g, first, "critic", "accepted")
    return g.tree


def rejected_by_opinion() -> Tree:
    """Rejected by a critic to the end; nobody who knows has said a word."""
    g = grown("rejected-by-opinion", "Write a slogan.")
    first = g.attempt(answer="Trees.")
    rejects(g, first)
    second = g.attempt(first, answer="More trees.")
    rejects(g, second)
    end(g, second, "critic", "max_rounds")
    return g.tree


def endpoint_down() -> Tree:
    """Three attempts in a row came to nothing."""
    g = grown("endpoint-down")
    for _ in range(3):
        g.attempt(status="failed", error="503 from the endpoint, five times", error_code="model")
    end(g, None, "nobody", "failing", stop_text="3 attempts failed in a row, the last with: 503")
    return g.tree


PLANTED: dict[str, Callable[[], Tree]] = {
    f.__name__.replace("_", "-"): f
    for f in (
        never_single, never_late_people, never_tools_shadow,
        passed_over_by_judge, passed_over_shadow_tests, passed_over_superseded,
        broken_long_chain, broken_one_branch, broken_by_flawed_tests, broken_by_a_remark,
        accepted_single, accepted_samples, accepted_by_weak_tests, accepted_against_reference,
        unreadable_single, unreadable_samples, unreadable_critiques_late_user,
        abstained_samples, abstained_two_verifiers, abstained_most,
        budget_time, budget_before_the_first, budget_steps_in_tools,
        solved_late, solved_after_all, still_parked, still_running, opinion_only, rejected_by_opinion,
        endpoint_down,
    )
}  # fmt: skip
