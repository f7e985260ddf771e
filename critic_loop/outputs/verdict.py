"""Verdicts and preferences in free text: the last line with a verdict counts.

Knows how verdicts, scores and preferences are worded (English, Chinese). Does not know what is judged. It does
not guess: a verdict that cannot be parsed is an abstention.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from critic_loop.core.messages import Message
from critic_loop.core.protocols import OutputSchema
from critic_loop.core.records import Feedback, Verdict
from critic_loop.outputs.base import clipped, visible

_PASS = (
    "correct", "right", "pass", "passes", "passed", "accept", "accepts", "accepted", "acceptable", "approve",
    "approved", "valid", "true", "yes", "正确", "对", "通过", "接受", "✅", "✓", "✔",
)  # fmt: skip
_FAIL = (
    "wrong", "incorrect", "fail", "fails", "failed", "reject", "rejects", "rejected", "unacceptable", "invalid",
    "false", "no", "revise", "needs revision", "错误", "不正确", "不对", "错", "不通过", "未通过", "拒绝",
    "不接受", "❌", "✗", "✘",
)  # fmt: skip
_ABSTAIN = (
    "abstain", "unsure", "uncertain", "unknown", "undecided", "unclear", "cannot judge", "cannot tell", "n/a",
    "无法判断", "不确定",
)  # fmt: skip


def _any(words: tuple[str, ...]) -> str:
    """Return a pattern for any of `words`, as a whole word."""
    ordered = sorted(words, key=len, reverse=True)
    return "|".join(rf"{re.escape(w)}(?![a-z])" if w.isascii() else re.escape(w) for w in ordered)


_SUBJECT = (
    r"(?:(?:the|this|its?)\s+)?(?:final\s+)?(?:(?:answer|solution|response|attempt|text|result)\s+)?"
    r"(?:is\s+|was\s+)?"
)
_WORD = re.compile(
    rf"(?:{_SUBJECT}|(?:答案|回答|解答)(?:是)?)"
    rf"(?P<negated>not\s+)?"
    rf"(?:(?P<abstain>{_any(_ABSTAIN)})|(?P<failed>{_any(_FAIL)})|(?P<passed>{_any(_PASS)}))(?:的)?(?P<rest>.*)$"
)
_DOUBT = re.compile(
    rf"(?<![a-z])(?:but|except|however|if|unless|only|partly|partially|mostly|not|"
    rf"{_any(tuple(word for word in _FAIL if word != 'no'))})(?![a-z])|但|除"
)
_OTHER_OPTION = re.compile(r"\s*(?:/|\||\bor\b|或)")
_ADDS_NOTHING = re.compile(r"\s*(?:$|[.,;:!()。,;、-])")
_EXPLAINS = re.compile(r"\s*(?:$|[.,;:!(。,;、-]|because\b|since\b|as\b|at\b|in\b|due\b|因)")


def verdict_in(words: str) -> Verdict | None:
    """Return the verdict of a few words such as `correct.` or `not accepted`; None if they are ambiguous.

    "Partially correct", "correct, but ..." and "correct / wrong" are ambiguous.
    """
    match = _WORD.match(_bare(words))
    if match is None or _OTHER_OPTION.match(match["rest"]):
        return None
    rest = match["rest"]
    if match["abstain"]:
        return None if match["negated"] else Verdict.ABSTAIN
    if match["failed"]:
        return Verdict.FAIL if not match["negated"] and _EXPLAINS.match(rest) else None
    if match["negated"]:
        return Verdict.FAIL if _EXPLAINS.match(rest) else None
    return Verdict.PASS if _ADDS_NOTHING.match(rest) and not _DOUBT.search(rest) else None


_LABEL = re.compile(
    r"(?:^|[.!?。]\s*)"
    r"(?:(?:my|the|so|thus|therefore|final|overall)[,\s]+)*"
    r"(?:最终|总体|我的)?"
    r"(?:(?P<strong>verdict|judge?ment|correctness(?:\s+of\s+the\s+(?:final\s+)?answer)?|判定|裁决|判断)"
    r"|(?P<weak>conclusion|decision|assessment|evaluation|结论|评价|结果|result))"
    r"\s*(?::|=|-+|\bis\b:?|是|为|$)\s*(?P<said>.*)$"
)
_ASCII_QUOTES = str.maketrans("\u2018\u2019\u201c\u201d\u2013\u2014", "''\"\"--")
_MARKS = re.compile(r"\\(?:boxed|text|textbf)\s*\{|[*_`\"'{}<>\[\]#]")


def _bare(line: str) -> str:
    """Return a line in lower case and NFKC form, without Markdown and quotation marks."""
    plain = unicodedata.normalize("NFKC", line).casefold().translate(_ASCII_QUOTES).replace("isn't", "is not")
    return " ".join(_MARKS.sub("", plain).split())


def _lines(text: str) -> list[str]:
    """Return the lines of `text` in bare form, without empty lines, rules and Markdown quotations."""
    bare = (_bare(line) for line in text.splitlines() if not line.lstrip().startswith(">"))
    return [line.lstrip("- ") for line in bare if line.strip("-=~ ")]


@dataclass(frozen=True, slots=True)
class _VerdictFound:
    verdict: Verdict | None
    """None: a verdict line whose words cannot be parsed."""
    words: str


def _verdicts(lines: list[str]) -> Iterator[_VerdictFound]:
    """Yield the verdicts of all verdict lines in order; a label alone refers to the line after it."""
    for index, line in enumerate(lines):
        label = _LABEL.search(line)
        if label is None:
            continue
        words = label["said"] or (lines[index + 1] if index + 1 < len(lines) else "")
        verdict = verdict_in(words)
        if verdict is not None or label["strong"]:
            yield _VerdictFound(verdict, words)


def _last_verdict(lines: list[str]) -> _VerdictFound | None:
    """Return the verdict of the last verdict line; without any, that of a last line that is only a verdict."""
    found = list(_verdicts(lines))
    if found:
        return found[-1]
    alone = verdict_in(lines[-1]) if lines and len(lines[-1]) <= 20 else None
    return _VerdictFound(alone, lines[-1]) if alone is not None else None


_NUMBER_LINE = re.compile(
    r"^(?:(?:my|the|final|overall|total)\s+)*(?P<label>score|rating|confidence|评分|得分|分数|置信度)"
    r"\s*(?::|=|\bis\b|是|为)\s*(?P<number>.+)$"
)
_NUMBER = re.compile(
    r"(?P<top>\d{1,9}(?:\.\d{1,9})?|\.\d{1,9})"
    r"\s*(?:(?P<percent>%)|(?:/|out of)\s*(?P<of>\d{1,9}(?:\.\d{1,9})?))?"
    r"(?![\d.]*\d)(?!\s*[/%])"
)


def share_in(words: str) -> float | None:
    """Return `7/10`, `70%` or `0.7` as a number in [0, 1]; None for anything else.

    A whole number alone has no known scale (1 may be the best of 1 or the worst of 10): None, as for a number
    outside its scale. Nothing is clamped.
    """
    match = _NUMBER.match(words.strip())
    if match is None:
        return None
    top = float(match["top"])
    if match["percent"]:
        share = top / 100
    elif match["of"]:
        share = top / float(match["of"]) if float(match["of"]) else -1.0
    else:
        share = top if "." in match["top"] else -1.0
    return share if 0.0 <= share <= 1.0 else None


def _numbers(lines: list[str]) -> dict[str, float]:
    """Return the last `score` and the last `confidence` that can be parsed, in [0, 1]."""
    found: dict[str, float] = {}
    for line in lines:
        match = _NUMBER_LINE.match(line)
        share = share_in(match["number"]) if match else None
        if match and share is not None:
            kind = "confidence" if match["label"] in ("confidence", "置信度") else "score"
            found[kind] = share
    return found


class _Lines:
    """Base of critique formats that are free text."""

    @property
    def schema(self) -> OutputSchema | None:
        """None: free text."""
        return None

    def describe(self) -> str:
        """Return "": the prompt describes the line."""
        return ""


@dataclass(frozen=True, slots=True)
class VerdictLine(_Lines):
    """Free text that ends with a verdict line such as `Verdict: wrong`, and may have a line `Score: 7/10`.

    The last verdict line counts. A score without a verdict is a judgement, too. If the verdict line cannot be
    parsed, the feedback is an abstention, whatever the rest of the text is.
    """

    @property
    def name(self) -> str:
        """`verdict`."""
        return "verdict"

    def parse(self, message: Message) -> Feedback:
        """Return the verdict with the whole reply as its text."""
        text = message.text
        lines = _lines(visible(text))
        found = _last_verdict(lines)
        numbers = _numbers(lines)
        score, confidence = numbers.get("score"), numbers.get("confidence")
        if found is None and score is not None:
            return Feedback(score=score, confidence=confidence, text=text)
        if found is None:
            missing = "no verdict line found" if text.strip() else "the reply has no text"
            return Feedback.abstain(missing, text=text, parse="unparsed")
        if found.verdict is None:
            reason = f"verdict line not understood: {clipped(found.words, 60)!r}"
            return Feedback.abstain(reason, text=text, parse="unparsed")
        if found.verdict is Verdict.ABSTAIN:
            return Feedback.abstain(f"the critic wrote {clipped(found.words, 60)!r}", text=text)
        return Feedback(verdict=found.verdict, score=score, confidence=confidence, text=text)


_PAIR_LABEL = re.compile(
    r"(?:^|[.!?。]\s*)(?:(?:my|the|so|thus|therefore|final|overall)[,\s]+)*"
    r"(?:better|winner|preferred|preference|verdict|choice|更好|胜者|判定)"
    r"(?:\s+(?:answer|one|response))?(?:的)?(?:答案|回答)?"
    r"\s*(?::|=|-+|\bis\b:?|是|为)\s*(?P<said>.*)$"
)
_PAIR_SIDE = re.compile(
    r"(?:(?:answer|response|assistant|option|答案|回答)\s*)?"
    r"(?:(?P<first>a|1|first|第一个)|(?P<second>b|2|second|第二个)"
    r"|(?P<tie>tied?|equal|draw|neither|both|same|平局|一样))(?![a-z0-9])(?P<rest>.*)$"
)
_PAIR_MARK = re.compile(r"\[\[\s*(a|b|c|tie)\s*\]\]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PairVerdict(_Lines):
    """Free text that ends with `Better: A`, `Better: B` or `Better: tie`: a preference between two answers."""

    @property
    def name(self) -> str:
        """`pair`."""
        return "pair"

    def parse(self, message: Message) -> Feedback:
        """Return the preference, its shares in the order in which the two answers were shown."""
        text = message.text
        shown = visible(text)
        lines = _lines(shown)
        said = [match["said"] for line in lines if (match := _PAIR_LABEL.search(line))]
        said = said or _PAIR_MARK.findall(shown)
        if not said:
            missing = "no line such as 'Better: A' found" if text.strip() else "the reply has no text"
            return Feedback.abstain(missing, source="judge", text=text, parse="unparsed")
        preference = _side(said[-1])
        if preference is None:
            reason = f"preference not understood: {clipped(said[-1], 60)!r}"
            return Feedback.abstain(reason, source="judge", text=text, parse="unparsed")
        confidence = _numbers(lines).get("confidence")
        return Feedback(source="judge", preference=preference, confidence=confidence, text=text)


def _side(words: str) -> tuple[float, float] | None:
    match = _PAIR_SIDE.match({"c": "tie"}.get(words.lower(), words.lower()))
    if match is None or _OTHER_OPTION.match(match["rest"]) or not _EXPLAINS.match(match["rest"]):
        return None
    if match["tie"]:
        return (0.5, 0.5)
    return (1.0, 0.0) if match["first"] else (0.0, 1.0)
