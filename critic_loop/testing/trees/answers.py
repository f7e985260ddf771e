"""Trees of methods that write, sample and compare whole answers.

Knows records. Does not know models, searches or stores.
"""

from __future__ import annotations

import struct
import zlib

from critic_loop.core.messages import Image, assistant, user
from critic_loop.core.records import Box, Feedback, Span, Step, Subject, Task
from critic_loop.core.tree import Tree
from critic_loop.testing.tree_builder import FAIL, PASS, TreeBuilder, task_of


def refine_tree() -> Tree:
    """Return a tree of a draft, a critique, and a revision that passes.

    **Source**: Self-Refine (Madaan et al. 2023), with a verifier beside the critic.
    """
    builder = TreeBuilder("refine", task_of("Write a function that doubles a number."), "refine")
    draft = builder.write("def double(x):\n    return x + 2", kind="answer")
    failed = builder.verify(draft, FAIL, 0.5, "double(3) == 6 failed: got 5")
    critique = Feedback(
        author="critic/0/solver", verdict=FAIL, score=0.2, text="It adds two. Multiply instead."
    )
    said = builder.say(draft, critique, asked=builder.fence("answer", "def double(x):\n    return x + 2"))
    better = builder.write("def double(x):\n    return x * 2", draft, told=(failed, said))
    builder.verify(better, PASS, 1.0, "3 of 3 tests pass")
    return builder.end(better, "verifier", "verified")


def best_of_n_tree() -> Tree:
    """Return a tree of eight samples from one request with eight choices, each in a lane, scored by a verifier.

    **Source**: best-of-n sampling (Cobbe et al. 2021); lanes as in `sample` recipes.
    """
    builder = TreeBuilder("best-of-n", task_of("Name a prime between 50 and 70."), "best-of-n")
    numbers = ("51", "53", "55", "57", "59", "63", "67", "69")
    first = builder.tree.next_attempt_id()
    ids = [builder.ask(group=first, lane=lane) for lane in range(len(numbers))]
    messages = [assistant(number, sampled=True) for number in numbers]
    call = builder.call((first,), "actor/0/solver", builder.tree.task.text, *messages)
    for attempt, message in zip(ids, messages, strict=True):
        builder.settle(attempt, message, answer=int(message.text), calls=(call,))
        prime = message.text in ("53", "59", "67")
        builder.verify(attempt, PASS if prime else FAIL, float(prime))
    return builder.end(ids[1], "verifier", "verified")


def pairwise_tree() -> Tree:
    """Return a tree of answers compared in both orders, where the judge contradicts itself once.

    **Source**: LLM-as-a-judge (Zheng et al. 2023): swap positions against position bias.
    """
    builder = TreeBuilder("pairwise", task_of("Write a haiku about snow."), "tournament")
    texts = (
        "Snow falls without sound",
        "Cold white quiet morning light",
        "Winter is a cold season with much snow",
    )
    one, two, three = (builder.write(text) for text in texts)
    for pair, shares in (
        ((one, two), (1.0, 0.0)),
        ((two, one), (1.0, 0.0)),  # prefers the first
        ((one, three), (0.8, 0.2)),
        ((three, one), (0.1, 0.9)),
    ):
        texts = "\n\n".join(builder.fence("answer", str(builder.tree[i].answer)) for i in pair)
        builder.say(
            Subject.of(*pair),
            Feedback(source="judge", author="judge/0/pairwise", preference=shares, text="The first is better."),
            asked=f"Which is better?\n\n{texts}",
        )
    return builder.end(one, "judge", "exhausted")


def code_t_tree() -> Tree:
    """Return a tree of solutions and tests, both attempts, with evidence on each pair of them.

    **Source**: CodeT (Chen et al. 2022): dual execution agreement. B4 (2024) uses the same matrix.
    """
    builder = TreeBuilder("code-t", task_of("Return the absolute value."), "code-t")
    solutions = [
        builder.write(code) for code in ("return abs(x)", "return x if x > 0 else -x", "return x", "return -x")
    ]
    tests = [
        builder.write(code, kind="tests", agent="tester") for code in ("f(-2) == 2", "f(3) == 3", "f(0) == 1")
    ]
    passes = ((1, 1, 0), (1, 1, 0), (0, 1, 0), (1, 0, 0))
    for solution, row in zip(solutions, passes, strict=True):
        for test, passed in zip(tests, row, strict=True):
            evidence = Feedback(
                source="verifier", author="run", verdict=PASS if passed else FAIL, score=float(passed)
            )
            builder.say(Subject.of(solution, test), evidence)
    return builder.end(solutions[0], "vote", "exhausted")


def image_tree() -> Tree:
    """Return a tree for a task with an image: a critique of each step, with a box on the image.

    **Source**: critics that mark regions of an image, as in UICrit (Duan et al. 2024).
    """
    picture = Image.of(_png(), "image/png")
    task = Task(prompt=(user("What does the picture show?", picture),), source="hand", license="CC0-1.0")
    builder = TreeBuilder("image", task, "refine")
    answer = builder.write("A red square. It has four corners. It is blue.")
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
    said = builder.say(answer, critique, asked="Look at the picture.")
    better = builder.write("A red square.", answer, told=(said,))
    builder.say(
        better, Feedback(author="critic/0/visual", verdict=PASS, score=0.9, text="Right."), asked="Look again."
    )
    return builder.end(better, "critic", "accepted")


def _png() -> bytes:
    """Return a red image of 2 x 2 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\x00" + b"\xff\x00\x00" * 2 for _ in range(2))
    size = struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def chinese_tree() -> Tree:
    """Return a tree of a refinement in Chinese, with characters outside the Basic Multilingual Plane.

    **Source**: written for this project; spans count code points, not bytes or UTF-16 units.
    """
    task = Task(
        prompt=(user("鸡兔同笼,共有三十五个头,九十四只脚。问鸡兔各几何?"),),
        reference="鸡23,兔12",
        language="zh",
    )
    builder = TreeBuilder("chinese", task, "refine")
    text = "设鸡有x只,则兔有35-x只。🐔 2x+4(35-x)=94,所以x=22。"
    answer = builder.write(text)
    failed = builder.verify(answer, FAIL, 0.0, "答案不对")
    start = text.index("x=22")
    span = Span(start=start, end=start + 4, text="解方程有误,x应为23", label="计算")
    critique = Feedback(
        author="critic/0/stepwise", verdict=FAIL, score=0.2, text="第二步计算有误。" * 20, spans=(span,)
    )
    said = builder.say(answer, critique, asked=builder.fence("answer", "设鸡有x只。" * 30))
    better = builder.write("鸡23只,兔12只。🐰", answer, told=(failed, said))
    builder.verify(better, PASS, 1.0, "正确")
    return builder.end(better, "verifier", "verified")
