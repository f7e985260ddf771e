"""Critiques of Countdown answers as text: a verdict for each line, then one for the answer.

    Line 1: right, reachable (95%)
    Line 2: right, dead end (80%)
    Verdict: wrong (99%)

Knows this format, in which the small model was trained and which the prompt `critic/countdown` asks for. Does
not know puzzles: it does not check whether a critique is true. It does not guess: a reply that contradicts
the format is an abstention. Other text around the lines is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from critic_loop.core.messages import Message
from critic_loop.core.protocols import OutputSchema
from critic_loop.core.records import Feedback, Step, Verdict
from critic_loop.demo.chars import LINE_VERDICTS, REACHABLE
from critic_loop.outputs.base import clipped, visible

_SHARE = r"(?:\s*\((?P<percent>\d{1,3})\s?%\))?"
_MARKS = r"[\s*_`#-]*"
"""Bullets and emphasis, which larger models often write."""

_LINE = re.compile(
    rf"{_MARKS}line (?P<number>[1-9]\d?):{_MARKS}(?P<said>{'|'.join(LINE_VERDICTS)})(?![a-z])"
    rf"{_SHARE}(?P<rest>.*)",
    re.ASCII | re.IGNORECASE,
)
_VERDICT = re.compile(rf"{_MARKS}verdict:(?P<said>.*)", re.ASCII | re.IGNORECASE)
_SAID = re.compile(rf"{_MARKS}(?P<word>correct|wrong){_SHARE}[\s*_`.]*", re.ASCII | re.IGNORECASE)
_CLAIMED = re.compile(rf"{_MARKS}line [1-9]\d?:", re.ASCII | re.IGNORECASE)


class _Unreadable(ValueError):
    """A reply contradicts the format; the message is the reason of the abstention."""


@dataclass(frozen=True, slots=True)
class CountdownCritique:
    """The critique format `countdown`.

    The score is the probability that the answer is correct: the stated confidence, or one minus it if the
    verdict is `wrong`. Without a confidence there is no score.
    """

    @property
    def name(self) -> str:
        """`countdown`."""
        return "countdown"

    @property
    def schema(self) -> OutputSchema | None:
        """None: free text."""
        return None

    def describe(self) -> str:
        """Returns "": the prompt describes the lines."""
        return ""

    def parse(self, message: Message) -> Feedback:
        """Returns verdict, score and steps with the whole reply as text; ABSTAIN where it cannot be parsed."""
        lines = visible(message.text).splitlines()
        try:
            passed, confidence = _verdict(lines)
            steps = _steps(lines)
        except _Unreadable as error:
            return Feedback.abstain(str(error), text=message.text, parse="unparsed")
        bad = next((step.index for step in steps if step.verdict is Verdict.FAIL), None)
        return Feedback(
            verdict=Verdict.PASS if passed else Verdict.FAIL,
            score=_probability(passed, confidence),
            confidence=None if confidence is None else confidence / 100,
            steps=steps,
            first_error=-1 if bad is None and steps and passed else bad,
            text=message.text,
        )


def _verdict(lines: Sequence[str]) -> tuple[bool, int | None]:
    """Returns whether the verdict is `correct`, and the critic's confidence in percent."""
    claims = [found["said"] for line in lines if (found := _VERDICT.fullmatch(line))]
    if not claims:
        missing = "no line like 'Verdict: correct (95%)' found" if any(lines) else "the reply has no text"
        raise _Unreadable(missing)
    said = [_SAID.fullmatch(claim) for claim in claims]
    words = {found["word"].lower() if found else None for found in said}
    last = said[-1]
    if last is None or len(words) > 1:
        raise _Unreadable(f"verdict not understood: {clipped(' / '.join(claims), 60)!r}")
    return last["word"].lower() == "correct", _percent(last["percent"])


def _steps(lines: Sequence[str]) -> tuple[Step, ...]:
    """Returns the verdicts on the lines of the answer, in their order."""
    steps = dict[int, Step]()
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            if _CLAIMED.match(line):
                raise _Unreadable(f"line not understood: {clipped(line, 60)!r}")
            continue
        number, said = int(found["number"]), found["said"].lower()
        if number - 1 in steps:
            raise _Unreadable(f"line {number} is judged twice")
        passed = said == REACHABLE
        steps[number - 1] = Step(
            index=number - 1,
            verdict=Verdict.PASS if passed else Verdict.FAIL,
            score=_probability(passed, _percent(found["percent"])),
            text=said + found["rest"].rstrip(),
        )
    return tuple(steps[index] for index in sorted(steps))


def _percent(digits: str | None) -> int | None:
    if digits is None:
        return None
    if int(digits) > 100:
        raise _Unreadable(f"{digits}% is not a confidence: more than 100%")
    return int(digits)


def _probability(passed: bool, percent: int | None) -> float | None:  # noqa: FBT001  # a verdict's two sides
    if percent is None:
        return None
    return (percent if passed else 100 - percent) / 100
