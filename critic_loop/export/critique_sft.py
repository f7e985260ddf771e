"""Rows for supervised fine-tuning of critics: a critic's request and reply, where its verdict is right.

Knows how a verdict is compared with what is known to be right (`evidence.right`). Does not know answers as
targets (`export.sft`).

Source: rejection sampling of critiques by verdict correctness, as in Critique-RL (2025), stage I, and the
cold start of RefCritic (2025). Unlike there, critiques whose verdict cannot be checked can be kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from critic_loop.core.records import Feedback, Source, Verdict
from critic_loop.core.tree import Tree
from critic_loop.evidence import truth_of
from critic_loop.export.base import Columns, Row, Skip, provenance, weighted
from critic_loop.export.chat import ChatFormat, Unfit, images_column, images_in
from critic_loop.export.conversation import Exchange, of_feedback


@dataclass(frozen=True, kw_only=True)
class CritiqueSft:
    """Rows of conversations that end in a critique."""

    agrees: Literal["where_known", "required", "ignored"] = "where_known"
    """Which verdicts are exported. `where_known`: those that nothing known contradicts; `required`: those that
    are known to be right; `ignored`: all."""
    sources: tuple[Source, ...] = ("critic", "judge")
    saw_reference: bool = False
    """Export critiques whose author was shown the reference answer, too (it is in their prompt)."""
    columns: Literal["messages", "prompt_completion"] = "messages"
    """One column with the conversation, or `prompt` and `completion`, so that only the critique is learnt."""
    thinking: bool = False
    """Keep reasoning, under the key `thinking`."""

    @property
    def name(self) -> str:
        """`critique_sft`."""
        return "critique_sft"

    @property
    def when_empty(self) -> str:
        """The message for an export without rows."""
        agreeing = {
            "where_known": " that nothing known contradicts",
            "required": " that is known to be right",
            "ignored": "",
        }[self.agrees]
        return f"no tree has a verdict by a model{agreeing}"

    def rows(self, trees: Iterable[Tree]) -> Iterator[Row | Skip]:
        """Yield a row for each critique; the `weight` of all rows of a tree adds up to 1."""
        for tree in trees:
            yield from weighted(self._row(tree, f) for f in _valid(tree) if f.source in self.sources)

    def _row(self, tree: Tree, feedback: Feedback) -> Row | Skip:
        exchange = of_feedback(tree, feedback)
        reason = self._unwanted(tree, feedback)
        if reason or exchange is None:
            return Skip(tree=tree.id, reason=reason or "not written by a model")
        try:
            return self._fit(tree, feedback, exchange)
        except Unfit as unfit:
            return Skip(tree=tree.id, reason=str(unfit))

    def _unwanted(self, tree: Tree, feedback: Feedback) -> str:
        if feedback.verdict is Verdict.ABSTAIN:
            return "abstained"
        if feedback.verdict is None and feedback.score is None and feedback.preference is None:
            return "no verdict, score or preference"
        if feedback.saw_reference and not self.saw_reference:
            return "saw the reference"
        right = judged_rightly(tree, feedback)
        if right is None and self.agrees == "required":
            return "not known to be right"
        return "known to be wrong" if right is False and self.agrees != "ignored" else ""

    def _fit(self, tree: Tree, feedback: Feedback, exchange: Exchange) -> Row:
        everything = (*exchange.prompt, *exchange.written)
        images = images_in(everything)
        chat = ChatFormat(thinking=self.thinking, parts=bool(images))
        if self.columns == "messages":
            columns: Columns = {"messages": chat.write(everything)}
        else:
            columns = {"prompt": chat.write(exchange.prompt), "completion": chat.write(exchange.written)}
        if images:
            columns["images"] = images_column(images)
        columns["provenance"] = _provenance(tree, feedback)
        return Row(columns=columns, images=images)


def judged_rightly(tree: Tree, feedback: Feedback) -> bool | None:
    """Return whether a verdict or a preference is right by all other feedback; None where that is not known.

    A preference is right where every right attempt has a larger share than every wrong one.
    """
    subject = feedback.subject
    if subject is None or subject.location is not None:
        return None
    truths = [truth_of(tree, attempt, without=feedback.id).right for attempt in subject.attempts]
    if feedback.preference is not None:
        return _preferred_rightly(feedback.preference, truths)
    if len(truths) != 1 or truths[0] is None or feedback.verdict not in (Verdict.PASS, Verdict.FAIL):
        return None
    return (feedback.verdict is Verdict.PASS) == truths[0]


def _preferred_rightly(shares: tuple[float, ...], truths: list[bool | None]) -> bool | None:
    """Return whether every right attempt has a larger share than every wrong one."""
    right = [share for share, truth in zip(shares, truths, strict=True) if truth is True]
    wrong = [share for share, truth in zip(shares, truths, strict=True) if truth is False]
    return min(right) > max(wrong) if right and wrong else None


def _valid(tree: Tree) -> Iterator[Feedback]:
    """Yield the feedback that nothing supersedes, in the order of arrival."""
    superseded = {feedback.supersedes for feedback in tree.feedback.values()}
    return (feedback for feedback in tree.feedback.values() if feedback.id not in superseded)


def _provenance(tree: Tree, feedback: Feedback) -> Columns:
    subject = feedback.subject
    attempts = [tree[i] for i in (subject.attempts if subject else ()) if i in tree]
    known = [f for attempt in attempts for f in truth_of(tree, attempt.id, without=feedback.id).rests_on]
    return provenance(tree, attempts, [feedback, *known])
