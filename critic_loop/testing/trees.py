"""Trees of the awkward published methods, written by hand: the proof that records hold them.

Each function returns a new tree, always the same. Exporters, views, rewards and stores are tested
against them. Knows records and nothing of models, searches or stores.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from pydantic import JsonValue

from critic_loop.core.messages import (
    ContentPart,
    Image,
    Message,
    Text,
    ToolCall,
    ToolResult,
    assistant,
    system,
    user,
)
from critic_loop.core.records import (
    Box,
    Criterion,
    Event,
    Feedback,
    Location,
    Span,
    Step,
    Subject,
    Task,
    Verdict,
)
from critic_loop.core.tree import Tree
from critic_loop.testing.grown import START, Grown

PASS, FAIL, ABSTAIN = Verdict.PASS, Verdict.FAIL, Verdict.ABSTAIN


def refine_tree() -> Tree:
    """Return draft, critique, revision, pass.

    **Source**: Self-Refine (Madaan et al. 2023), with a verifier beside the critic.
    """
    grown = Grown("refine", _task("Write a function that doubles a number."), "refine")
    draft = grown.write("def double(x):\n    return x + 2", kind="answer")
    failed = grown.verify(draft, FAIL, 0.5, "double(3) == 6 failed: got 5")
    critique = Feedback(
        author="critic/0/solver", verdict=FAIL, score=0.2, text="It adds two. Multiply instead."
    )
    said = grown.say(draft, critique, asked=grown.fence("answer", "def double(x):\n    return x + 2"))
    better = grown.write("def double(x):\n    return x * 2", draft, told=(failed, said))
    grown.verify(better, PASS, 1.0, "3 of 3 tests pass")
    return grown.end(better, "verifier", "verified")


def best_of_n_tree() -> Tree:
    """Return eight samples of one request with eight choices, in eight lanes, scored by a verifier.

    **Source**: best-of-n sampling (Cobbe et al. 2021), lanes as of `sample` recipes.
    """
    grown = Grown("best-of-n", _task("Name a prime between 50 and 70."), "best-of-n")
    numbers = ("51", "53", "55", "57", "59", "63", "67", "69")
    first = grown.tree.next_attempt_id()
    ids = [grown.ask(group=first, lane=lane) for lane in range(len(numbers))]
    messages = [assistant(number, sampled=True) for number in numbers]
    call = grown.call((first,), "actor/0/solver", grown.tree.task.text, *messages)
    for attempt, message in zip(ids, messages, strict=True):
        grown.settle(attempt, message, answer=int(message.text), calls=(call,))
        prime = message.text in ("53", "59", "67")
        grown.verify(attempt, PASS if prime else FAIL, float(prime))
    return grown.end(ids[1], "verifier", "verified")


def multi_critique_tree() -> Tree:
    """Return units of several critics, each judged by a meta-judge, the valid ones merged.

    A unit is feedback on a span of the answer; the meta-judge's label is feedback on that feedback; the
    merged critique rests on the valid units.

    **Source**: MultiCritique (Lan et al. 2024).
    """
    grown = Grown("multi-critique", _task("When did Ada Lovelace publish her notes, and on what?"), "meta")
    text = "In 1853, on the Analytical Engine of Charles Babbage, which was completed in 1850."
    answer = grown.write(text)
    units = [
        _unit(grown, answer, text, "1853", 0, "The notes are of 1843.", "factual", "severe"),
        _unit(
            grown, answer, text, "which was completed in 1850", 0, "It was never built.", "factual", "severe"
        ),
        _unit(grown, answer, text, "1853", 1, "Wrong year: 1843.", "factual", "severe"),
        _unit(grown, answer, text, "Charles Babbage", 2, "Give his title.", "style", "minor"),
    ]
    labels = ("valid", "valid", "redundant", "wrong")
    for unit, label in zip(units, labels, strict=True):
        verdict = PASS if label == "valid" else FAIL
        judged = Feedback(source="judge", author="meta/0/judge", verdict=verdict, text=label)
        grown.say(Subject(feedback=unit), judged, asked=grown.tree.feedback[unit].text)
    merged = Feedback(
        author="meta/0/merger",
        verdict=FAIL,
        score=0.1,
        text="The notes are of 1843. The engine was never built.",
        rests_on=(units[0], units[1]),
    )
    grown.say(answer, merged, asked="Merge the valid ones.")
    return grown.end(answer, "critic", "max_rounds")


def _unit(
    grown: Grown, answer: str, text: str, quote: str, critic: int, remark: str, kind: str, severity: str
) -> str:
    start = text.index(quote)
    where = Subject(attempts=(answer,), location=Location(message=0, start=start, end=start + len(quote)))
    return grown.say(
        where,
        Feedback(
            author=f"critic/{critic}/unit",
            verdict=FAIL,
            text=remark,
            suggestion=remark,
            data={"error_type": kind, "severity": severity},
        ),
        asked=grown.fence("answer", text),
    )


def spc_tree() -> Tree:
    """Return a correct step, a sneaky one put in its place, and a critic who must tell.

    Both zero-sum rewards follow from evidence (completions from the corrupted step fail) and the
    critic's verdict: the critic gets +1 if they agree, the sneaky generator the opposite.

    **Source**: SPC (Chen et al. 2025).
    """
    grown = Grown("spc", _task("What is 3 * (4 + 5)?"), "self-play")
    prefix = grown.write("4 + 5 = 9.", kind="step")
    right = grown.write("3 * 9 = 27.", prefix, kind="step")
    sneaky = grown.ask(prefix, kind="step", agent="sneaky", replaces=right, shown=(prefix, right))
    message = assistant('{"error_type": "arithmetic", "step": "3 * 9 = 24."}', sampled=True)
    call = grown.call((sneaky,), "sneaky/0/generator", "Make the step wrong, and hide it.", message)
    answer: dict[str, JsonValue] = {"error_type": "arithmetic", "step": "3 * 9 = 24."}
    grown.settle(sneaky, message, answer=answer, calls=(call,))
    grown.say(
        sneaky,
        Feedback(
            source="verifier",
            author="completions",
            verdict=FAIL,
            score=0.0,
            text="0 of 8 completions from here are right; 8 of 8 from the step that it replaces.",
            data={"from_step": 0.0, "from_original": 1.0},
        ),
    )
    judged = Feedback(author="critic/0/step", verdict=FAIL, score=0.1, text="3 * 9 is 27.", first_error=0)
    grown.say(sneaky, judged, asked=grown.fence("step", "3 * 9 = 24."))
    return grown.end(right, "verifier", "exhausted")


def rethink_mcts_tree() -> Tree:
    """Return a search over thoughts in which a failed evaluation makes the model rethink a node.

    **Source**: RethinkMCTS (Li et al. 2024): the thought on the edge is replaced and evaluated again.
    """
    grown = Grown("rethink-mcts", _task("Return the second largest of a list."), "rethink-mcts")
    first = grown.tree.next_attempt_id()
    ids = [grown.ask(kind="thought", group=first) for _ in range(3)]
    thoughts = ("Sort, take the second last.", "Take the maximum twice.", "Keep two variables.")
    proposed = assistant("\n".join(thoughts), sampled=True)
    call = grown.call(
        (first,), "actor/0/thinker", "Propose three thoughts, each with its reasonableness.", proposed
    )
    for attempt, thought, prior in zip(ids, thoughts, (0.9, 0.4, 0.7), strict=True):
        grown.settle(attempt, assistant(thought), answer=thought, calls=(call,))
        grown.say(attempt, Feedback(author="actor/0/thinker", score=prior, text="reasonableness"))
    program = grown.write("return sorted(xs)[-2]", first)
    failed = grown.verify(program, FAIL, 0.5, "[5, 5, 3]: expected 3, got 5")
    analysis = Feedback(author="critic/0/blocks", text="Block 1 keeps equal values.", parse="repaired")
    traced = grown.say(program, analysis, asked="Analyse the failing trace block by block.")
    second = grown.write(
        "Sort the distinct values, take the second last.",
        kind="thought",
        replaces=first,
        shown=(first, program),
        told=(failed, traced),
    )
    better = grown.write("return sorted(set(xs))[-2]", second)
    grown.verify(better, PASS, 1.0)
    grown.say(
        better, Feedback(author="actor/0/estimate", score=0.95, text="0.9"), asked="Rate it from -1 to 1."
    )
    return grown.end(better, "verifier", "verified")


def pairwise_tree() -> Tree:
    """Return two answers compared in both orders, where the judge contradicts itself once.

    **Source**: LLM-as-a-judge (Zheng et al. 2023): swap positions against position bias.
    """
    grown = Grown("pairwise", _task("Write a haiku about snow."), "tournament")
    texts = (
        "Snow falls without sound",
        "Cold white quiet morning light",
        "Winter is a cold season with much snow",
    )
    one, two, three = (grown.write(text) for text in texts)
    for pair, shares in (
        ((one, two), (1.0, 0.0)),
        ((two, one), (1.0, 0.0)),  # prefers whatever stands first
        ((one, three), (0.8, 0.2)),
        ((three, one), (0.1, 0.9)),
    ):
        texts = "\n\n".join(grown.fence("answer", str(grown.tree[i].answer)) for i in pair)
        grown.say(
            Subject.of(*pair),
            Feedback(source="judge", author="judge/0/pairwise", preference=shares, text="The first is better."),
            asked=f"Which is better?\n\n{texts}",
        )
    return grown.end(one, "judge", "exhausted")


def gate_tree() -> Tree:
    """Return an action vetoed before it was executed, with a suggestion, and its re-proposal.

    A proposed action is a partial attempt; the gate's feedback is about its tool call.

    **Source**: GUI-Critic-R1 (Wanyan et al. 2025): a critic before the action.
    """
    grown = Grown("gate", _task("Delete the temporary files under /tmp/build."), "gated")
    vetoed, calls = _propose(grown, "rm -rf /tmp", ())
    gate = Subject(attempts=(vetoed,), location=Location(message=0, content_part=1))
    veto = Feedback(
        author="gate/0/gate",
        verdict=FAIL,
        score=0.0,
        text="It deletes more than was asked for.",
        suggestion="rm -rf /tmp/build",
    )
    said = grown.say(gate, veto, asked="May this be executed? rm -rf /tmp")
    grown.settle(
        vetoed, *grown.tree[vetoed].messages, status="failed", error="vetoed", error_code="vetoed", calls=calls
    )
    again, calls = _propose(grown, "rm -rf /tmp/build", (said,))
    gate = Subject(attempts=(again,), location=Location(message=0, content_part=1))
    allowed = Feedback(author="gate/0/gate", verdict=PASS, score=1.0, text="As asked.")
    grown.say(gate, allowed, asked="May this be executed? rm -rf /tmp/build")
    result = Message(role="tool", parts=(ToolResult.of("removed 12 files", call_id="call-1", name="shell"),))
    grown.settle(again, *grown.tree[again].messages, result, answer="removed 12 files", calls=calls)
    grown.say(again, Feedback(source="tool", author="shell", verdict=PASS, text="exit status 0"))
    return grown.end(again, "verifier", "accepted")


def _propose(grown: Grown, command: str, told: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    parts: tuple[str | ContentPart, ...] = (
        "I remove them.",
        ToolCall(
            id="call-1",
            name="shell",
            arguments={"command": command},
            arguments_text=f'{{"command":"{command}"}}',
        ),
    )
    message = assistant(*parts, sampled=True)
    attempt = grown.ask(kind="action", told=told)
    call = grown.call((attempt,), "actor/0/agent", grown.tree.task.text, message)
    grown.settle(attempt, message, status="partial", calls=(call,))
    return attempt, (call,)


def ask_for_help_tree() -> Tree:
    """Return an action that asks a human, waits, and goes on with the answer.

    The human's answer is feedback on the question; which blocker it lifts is a judge's. Precision and
    recall follow from these and the number of blockers in the task's checks.

    **Source**: HiL-Bench: Ask-F1 over a hidden registry of blockers.
    """
    checks: dict[str, JsonValue] = {"hil": {"n_blockers": 2}}
    task = Task(prompt=(user("Deploy the service."),), checks=checks, tags=("ask_human",))
    grown = Grown("ask-for-help", task, "ask-for-help")
    question = ToolCall(id="q1", name="ask_human", arguments={"question": "To which region?"})
    message = assistant(question, sampled=True)
    attempt = grown.ask(kind="action")
    call = grown.call((attempt,), "actor/0/agent", task.text, message)
    grown.settle(attempt, message, status="parked", calls=(call,))
    grown.tree.append(Event(kind="park", at=START + 10, text="To which region?", data={"attempt": attempt}))
    where = Subject(attempts=(attempt,), location=Location(message=0, content_part=0))
    answered = grown.say(where, Feedback(source="human", author="ops", text="To eu-west-1."))
    data: dict[str, JsonValue] = {"blocker": "missing-region"}
    matched = Feedback(source="judge", author="judge/0/blocker", verdict=PASS, text="missing-region", data=data)
    grown.say(where, matched, asked="Which blocker does the question hit?")
    heard = Message(role="tool", parts=(ToolResult.of("To eu-west-1.", call_id="q1", name="ask_human"),))
    grown.settle(attempt, message, heard, calls=(call,))
    done = grown.write("Deployed to eu-west-1.", attempt, told=(answered,))
    grown.verify(done, PASS, 1.0)
    return grown.end(done, "verifier", "verified")


def code_t_tree() -> Tree:
    """Return solutions and tests, both attempts, and evidence on each pair of them.

    **Source**: CodeT (Chen et al. 2022): dual execution agreement. B4 (2024) reads the same matrix.
    """
    grown = Grown("code-t", _task("Return the absolute value."), "code-t")
    solutions = [
        grown.write(code) for code in ("return abs(x)", "return x if x > 0 else -x", "return x", "return -x")
    ]
    tests = [
        grown.write(code, kind="tests", agent="tester") for code in ("f(-2) == 2", "f(3) == 3", "f(0) == 1")
    ]
    passes = ((1, 1, 0), (1, 1, 0), (0, 1, 0), (1, 0, 0))
    for solution, row in zip(solutions, passes, strict=True):
        for test, passed in zip(tests, row, strict=True):
            evidence = Feedback(
                source="verifier", author="run", verdict=PASS if passed else FAIL, score=float(passed)
            )
            grown.say(Subject.of(solution, test), evidence)
    return grown.end(solutions[0], "vote", "exhausted")


def prompt_agent_tree() -> Tree:
    """Return a search over prompts, where a prompt's worth is the accuracy of nested runs with it.

    `nested_tree` is one of these runs.

    **Source**: PromptAgent (Wang et al. 2023): states are prompts, actions are error feedback.
    """
    grown = Grown("prompt-agent", _task("Find a prompt for counting letters."), "prompt-agent")
    plain = grown.write("Count the letters.", kind="prompt")
    grown.say(plain, _accuracy(0.4, "nested", "nested-2"))
    errors = Feedback(author="critic/0/errors", text="It skips doubled letters.", rubric=_rubric())
    said = grown.say(plain, errors, asked="What do the errors have in common?")
    better = grown.write("Spell the word letter by letter, then count.", plain, kind="prompt", told=(said,))
    grown.say(better, _accuracy(0.9, "nested-3", "nested-4"))
    return grown.end(better, "verifier", "exhausted")


def _rubric() -> tuple[Criterion, ...]:
    return (
        Criterion(name="explains the errors", verdict=PASS, score=1.0),
        Criterion(name="names a remedy", verdict=FAIL, score=0.0, weight=0.5),
    )


def _accuracy(share: float, *trees: str) -> Feedback:
    return Feedback(source="verifier", author="dev_set", score=share, text=f"accuracy {share}", trees=trees)


def nested_tree() -> Tree:
    """Return one of the runs that measure a prompt of `prompt_agent_tree`; its task names the prompt.

    **Source**: PromptAgent (Wang et al. 2023).
    """
    task = Task(prompt=(system("Count the letters."), user("How many r in strawberry?")), reference=3)
    grown = Grown("nested", Task.of(task, parent="prompt-agent.1"), "once", origin="prompt-agent.1")
    answer = grown.write("2")
    grown.verify(answer, FAIL, 0.0)
    return grown.end(answer, "verifier", "max_rounds")


def parked_tree() -> Tree:
    """Return a tree that waits for a human critic: one attempt parked, another critic abstained.

    **Source**: human critics park their attempt while the other lanes go on.
    """
    grown = Grown("parked", _task("Write a slogan."), "human")
    attempt = grown.ask()
    message = assistant("Trees all the way down.", sampled=True)
    call = grown.call((attempt,), "actor/0/solver", grown.tree.task.text, message)
    grown.settle(attempt, message, answer=message.text, status="parked", calls=(call,))
    refused = Feedback(
        author="critic/0/style",
        verdict=ABSTAIN,
        parse="refused",
        reason="The model declined to judge.",
        advisory=True,
    )
    grown.say(attempt, refused)
    grown.tree.append(Event(kind="park", at=START + 20, text="human", data={"attempt": attempt}))
    return grown.end(None, "nobody", "parked")


def image_tree() -> Tree:
    """Return a task with a picture, steps judged one by one, and remarks on regions of it.

    **Source**: critics that point at what they mean, as in UICrit (Duan et al. 2024).
    """
    picture = Image.of(_png(), "image/png")
    task = Task(prompt=(user("What does the picture show?", picture),), source="hand", license="CC0-1.0")
    grown = Grown("image", task, "refine")
    answer = grown.write("A red square. It has four corners. It is blue.")
    critique = Feedback(
        author="critic/0/visual",
        verdict=FAIL,
        score=0.3,
        text="The last sentence contradicts the first.",
        steps=(
            Step(index=0, verdict=PASS, score=1.0),
            Step(index=1, verdict=PASS, score=0.9),
            Step(index=2, verdict=FAIL, score=0.0, text="It is red."),
        ),
        first_error=2,
        spans=(Span(start=35, end=46, text="not blue", label="colour"),),
        boxes=(Box(left=0.0, top=0.0, right=1.0, bottom=1.0, text="all of it is red"),),
        confidence=0.8,
    )
    said = grown.say(answer, critique, asked="Look at the picture.")
    better = grown.write("A red square.", answer, told=(said,))
    grown.say(
        better, Feedback(author="critic/0/visual", verdict=PASS, score=0.9, text="Right."), asked="Look again."
    )
    return grown.end(better, "critic", "accepted")


def _png() -> bytes:
    """Return a red picture of 2 x 2 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\x00" + b"\xff\x00\x00" * 2 for _ in range(2))
    size = struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def chinese_tree() -> Tree:
    """Return a refine tree in Chinese, with text outside the Basic Multilingual Plane.

    **Source**: written for this project; spans count code points, not bytes or UTF-16 units.
    """
    task = Task(
        prompt=(user("鸡兔同笼,共有三十五个头,九十四只脚。问鸡兔各几何?"),),
        reference="鸡23,兔12",
        language="zh",
    )
    grown = Grown("chinese", task, "refine")
    text = "设鸡有x只,则兔有35-x只。🐔 2x+4(35-x)=94,所以x=22。"
    answer = grown.write(text)
    failed = grown.verify(answer, FAIL, 0.0, "答案不对")
    start = text.index("x=22")
    span = Span(start=start, end=start + 4, text="解方程有误,x应为23", label="计算")
    critique = Feedback(
        author="critic/0/stepwise", verdict=FAIL, score=0.2, text="第二步计算有误。" * 20, spans=(span,)
    )
    said = grown.say(answer, critique, asked=grown.fence("answer", "设鸡有x只。" * 30))
    better = grown.write("鸡23只,兔12只。🐰", answer, told=(failed, said))
    grown.verify(better, PASS, 1.0, "正确")
    return grown.end(better, "verifier", "verified")


def _task(text: str) -> Task:
    return Task(prompt=(Message(role="user", parts=(Text(text=text),)),), tags=("fixture",))


ALL: dict[str, Callable[[], Tree]] = {
    "ask-for-help": ask_for_help_tree,
    "best-of-n": best_of_n_tree,
    "chinese": chinese_tree,
    "code-t": code_t_tree,
    "gate": gate_tree,
    "image": image_tree,
    "multi-critique": multi_critique_tree,
    "nested": nested_tree,
    "pairwise": pairwise_tree,
    "parked": parked_tree,
    "prompt-agent": prompt_agent_tree,
    "refine": refine_tree,
    "rethink-mcts": rethink_mcts_tree,
    "spc": spc_tree,
}
"""Every fixture tree, by its id."""
