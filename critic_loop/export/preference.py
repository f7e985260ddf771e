"""Preference pairs: explicit `prompt`, `chosen`, `rejected`, as DPO and its kin read them.

Knows which pairs of attempts differ in worth. Which of two is better is decided in `evidence.better`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from critic_loop.core.messages import Message
from critic_loop.core.protocols import ToolSpec
from critic_loop.core.records import Attempt, AttemptKind, Feedback
from critic_loop.core.tree import Tree
from critic_loop.evidence import Better, By, better_of, value_of
from critic_loop.export.base import Columns, Row, Skip, grounds, provenance, weighted
from critic_loop.export.chat import ChatFormat, Unfit, images_column, images_in, tool_columns, tools_offered
from critic_loop.export.conversation import Exchange, of_attempt


@dataclass(frozen=True, kw_only=True)
class Preference:
    """Rows of two attempts at the same task, of which one is better."""

    by: tuple[By, ...] = ("evidence", "judge", "opinion")
    """Whose word is enough."""
    margin: float = 0.0
    """The least difference in [0, 1]; verdicts that differ count as 1."""
    pairs: int = 4
    """At most so many rows from one tree, those of the largest margin first."""
    compared: int = 200
    """At most so many attempts of a tree are compared: the best and the worst of larger ones."""
    prompt: Literal["task", "shown"] = "task"
    """The task's prompt; or what the actors were really shown, and only pairs that were shown the same."""
    both_orders: bool = True
    """Whether a judge's preference counts only where it was asked in both orders."""
    kinds: tuple[AttemptKind, ...] = ("answer",)
    sampled: bool = True
    """Whether only text counts that a model wrote."""
    thinking: bool = False
    tools: tuple[ToolSpec, ...] = ()
    """Schemas for the `tools` column, in place of those that the tree recorded."""

    @property
    def name(self) -> str:
        """`preference`."""
        return "preference"

    @property
    def when_empty(self) -> str:
        """What no tree had."""
        return f"no tree has two attempts of different value (by {', '.join(self.by)}; margin {self.margin:g})"

    def rows(self, trees: Iterable[Tree]) -> Iterator[Row | Skip]:
        """Yield up to `pairs` rows of each tree; `weight` shares 1 among the rows of a tree."""
        for tree in trees:
            yield from weighted(self._of(tree))

    def _of(self, tree: Tree) -> Iterator[Row | Skip]:
        exchanges: dict[str, Exchange] = {}
        for attempt in tree:
            if attempt.kind not in self.kinds or attempt.status != "complete":
                continue
            exchange = of_attempt(tree, attempt)
            if self.sampled and not exchange.sampled:
                yield Skip(tree=tree.id, reason="not written by a model")
            else:
                exchanges[attempt.id] = exchange
        among = _extremes(tree, list(exchanges), self.compared)
        yield from (
            Skip(tree=tree.id, reason="in the middle of a large tree")
            for _ in range(len(exchanges) - len(among))
        )
        ordered, skipped = self._ordered(tree, {attempt: exchanges[attempt] for attempt in among})
        yield from skipped
        taken = 0
        for pair in ordered:
            if taken == self.pairs:
                yield Skip(tree=tree.id, reason="more pairs than asked for")
                continue
            row = self._row(tree, pair, exchanges)
            taken += isinstance(row, Row)
            yield row

    def _ordered(self, tree: Tree, exchanges: dict[str, Exchange]) -> tuple[list[Better], list[Skip]]:
        """Return the pairs that qualify, the clearest first, and why the others do not."""
        found: list[Better] = []
        skipped: list[Skip] = []
        for one, other in combinations(exchanges, 2):
            better = better_of(tree, one, other, both_judged=True, both_orders=self.both_orders)
            reason = "neither is known to be better"
            if isinstance(better, Better):
                reason = self._unwanted(better, exchanges[one], exchanges[other], tree[one], tree[other])
                found += [] if reason else [better]
            skipped += [Skip(tree=tree.id, reason=reason)] if reason else []
        found.sort(key=lambda pair: (self.by.index(pair.by), -pair.margin))
        return found, skipped

    def _unwanted(self, better: Better, one: Exchange, other: Exchange, a: Attempt, b: Attempt) -> str:
        if better.by not in self.by:
            return f"ordered by {better.by} alone"
        if better.margin < self.margin:
            return "less than the margin apart"
        if _same(a, b):
            return "both say the same"
        return "were shown different things" if self.prompt == "shown" and one.prompt != other.prompt else ""

    def _row(self, tree: Tree, pair: Better, exchanges: dict[str, Exchange]) -> Row | Skip:
        try:
            return self._fit(tree, pair, exchanges)
        except Unfit as unfit:
            return Skip(tree=tree.id, reason=str(unfit))

    def _fit(self, tree: Tree, pair: Better, exchanges: dict[str, Exchange]) -> Row:
        prompt = exchanges[pair.better].prompt if self.prompt == "shown" else tree.task.prompt
        chosen, rejected = tree[pair.better].messages, tree[pair.worse].messages
        images = images_in(prompt)
        if images_in((*chosen, *rejected)):
            raise Unfit("a picture stands in an answer")
        chat = ChatFormat(thinking=self.thinking, parts=bool(images))
        offered = self.tools or tools_offered(tree, [tree[pair.better], tree[pair.worse]])
        tools, notes = tool_columns((*prompt, *chosen, *rejected), offered)
        columns: Columns = {
            "prompt": chat.write(prompt),
            "chosen": chat.write(chosen),
            "rejected": chat.write(rejected),
            **tools,
        }
        if images:
            columns["images"] = images_column(images)
        columns["provenance"] = provenance(
            tree, [tree[pair.better], tree[pair.worse]], _grounds(tree, pair), decided_by=pair.by
        )
        return Row(columns=columns, images=images, notes=notes)


def _extremes(tree: Tree, attempts: list[str], count: int) -> list[str]:
    """Return the best and the worst half of `count` attempts, in the order given; all if there are no more."""
    if len(attempts) <= count:
        return attempts
    ranked = sorted(attempts, key=lambda attempt: value_of(tree, attempt).key)
    kept = {*ranked[: count // 2], *ranked[len(ranked) - (count - count // 2) :]}
    return [attempt for attempt in attempts if attempt in kept]


def _same(one: Attempt, other: Attempt) -> bool:
    if one.answer is not None and one.answer == other.answer:
        return True
    return _texts(one.messages) == _texts(other.messages)


def _texts(messages: tuple[Message, ...]) -> list[str]:
    return [message.text.strip() for message in messages if message.role == "assistant"]


def _grounds(tree: Tree, pair: Better) -> list[Feedback]:
    return [*grounds(tree, pair.better, pair.worse), *pair.feedback]
