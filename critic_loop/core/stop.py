"""The stop rules that are offered, and how a recipe writes them.

    Verified() | Accepted() | MaxRounds(6) | Plateau(rounds=2, gain=0.02) | Spent(tokens=50_000)

A plain function of `Progress` stands wherever a rule does: `tired | MaxRounds(6)`. A rule is asked after each
attempt has been judged. Rules read `Progress`; they never change it. A limit that is reached is a stop reason,
never an error: the loop returns the best so far.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field, JsonValue

from critic_loop.core import plugins
from critic_loop.core.errors import ConfigError
from critic_loop.core.progress import Progress, StopReason
from critic_loop.core.rules import AllOf, AnyOf, FunctionRule, Rule

Count = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""Checked where a rule is read from data."""


@dataclass(frozen=True)
class Verified(Rule):
    """Stops when every verifier that judged the attempt passed it."""

    name: ClassVar[str] = "verified"

    def __call__(self, progress: Progress) -> StopReason | None:
        """Look at the latest attempt's evidence."""
        if progress.value.verified is True:
            return StopReason(self.name, f"attempt {progress.latest} passed its verifiers")
        return None


@dataclass(frozen=True)
class Accepted(Rule):
    """Stops when every critic that judged the attempt accepted it and no verifier failed it."""

    name: ClassVar[str] = "accepted"

    def __call__(self, progress: Progress) -> StopReason | None:
        """Look at the latest attempt's critics; an abstention accepts nothing."""
        if progress.value.accepted is True and progress.value.verified is not False:
            return StopReason(self.name, f"attempt {progress.latest} was accepted by its critics")
        return None


@dataclass(frozen=True)
class MaxRounds(Rule):
    """Stops when a path has so many answers (a draft and its revisions), the steps of each counted once."""

    rounds: Count
    name: ClassVar[str] = "max_rounds"

    def __call__(self, progress: Progress) -> StopReason | None:
        """Look at the latest answer's path."""
        tree = progress.tree
        if progress.unfinished or tree.depth(progress.latest) + 1 < self.rounds:
            return None
        path = (tree.attempts.get(i) for i in tree.path(progress.latest))
        if sum(a is None or not a.unfinished for a in path) < self.rounds:
            return None
        return StopReason(self.name, f"{self.rounds} rounds made")


@dataclass(frozen=True)
class MaxAttempts(Rule):
    """Stops when so many attempts have been judged."""

    attempts: Count
    name: ClassVar[str] = "max_attempts"

    def __call__(self, progress: Progress) -> StopReason | None:
        """Count."""
        if progress.judged >= self.attempts:
            return StopReason(self.name, f"{self.attempts} attempts made")
        return None


@dataclass(frozen=True)
class Plateau(Rule):
    """Stops when the best score has gained less than `gain` over the last `rounds` attempts."""

    rounds: Count = 2
    gain: Amount = 0.02
    name: ClassVar[str] = "plateau"

    def __call__(self, progress: Progress) -> StopReason | None:
        """Compare the best score with that of `rounds` attempts ago. Never holds before there are scores."""
        scores = progress.best_scores
        if len(scores) <= self.rounds or progress.value.score is None:
            return None
        if scores[-1] - scores[-1 - self.rounds] < self.gain:
            return StopReason(self.name, f"no gain of {self.gain} in {self.rounds} rounds")
        return None


@dataclass(frozen=True)
class Diminishing(Rule):
    """Stops when the best score has gained less than `gain` a model call over the last `rounds` attempts.

    Unlike `Plateau`, it weighs what the attempts cost: a slow gain by cheap attempts may go on.
    """

    rounds: Count = 8
    gain: Amount = 0.001
    """Score in [0, 1], a call."""
    name: ClassVar[str] = "diminishing"

    def __call__(self, progress: Progress) -> StopReason | None:
        """Compare score and calls with those of `rounds` attempts ago. Never holds before there are scores."""
        scores, calls = progress.best_scores, progress.calls
        if len(scores) <= self.rounds or progress.value.score is None:
            return None
        gained, made = scores[-1] - scores[-1 - self.rounds], calls[-1] - calls[-1 - self.rounds]
        if gained < self.gain * made:
            return StopReason(self.name, f"a gain of {gained:.3g} for {made} calls in {self.rounds} rounds")
        return None


@dataclass(frozen=True)
class Failing(Rule):
    """Stops when so many attempts in a row came to nothing (a model error, say)."""

    attempts: Count = 3
    name: ClassVar[str] = "failing"

    def __call__(self, progress: Progress) -> StopReason | None:
        """Count failures in a row."""
        if progress.failures_in_a_row >= self.attempts:
            error = progress.tree[progress.latest].error
            return StopReason(self.name, f"{self.attempts} attempts failed in a row, the last with: {error}")
        return None


@dataclass(frozen=True)
class Elapsed(Rule):
    """Stops when so many seconds have passed since the loop was opened."""

    s: Amount
    name: ClassVar[str] = "elapsed"

    def __call__(self, progress: Progress) -> StopReason | None:
        """Look at the clock's reading."""
        if progress.spend.elapsed_s >= self.s:
            return StopReason(self.name, f"{self.s:g} s have passed")
        return None


@dataclass(frozen=True)
class Spent(Rule):
    """Stops when so much has been spent; whichever is given and reached first."""

    usd: Amount | None = None
    """Loops refuse it if the price of one of their models is unknown."""
    tokens: Count | None = None
    output_tokens: Count | None = None
    """What the models wrote, without what they read."""
    calls: Count | None = None
    name: ClassVar[str] = "spent"

    def __call__(self, progress: Progress) -> StopReason | None:
        """Compare with what has been billed."""
        spend = progress.spend
        if self.usd is not None and spend.calls and spend.cost_usd is None:
            return StopReason(self.name, "what was spent cannot be told: a call has no price")
        tokens = spend.usage.input_tokens + spend.usage.output_tokens
        for unit, limit, used in (
            ("USD", self.usd, spend.cost_usd),
            ("tokens", self.tokens, tokens),
            ("output tokens", self.output_tokens, spend.usage.output_tokens),
            ("calls", self.calls, spend.calls),
        ):
            if limit is not None and used is not None and used >= limit:
                return StopReason(self.name, f"{used:g} of {limit:g} {unit} spent")
        return None


RULES: dict[str, type[Rule]] = {
    rule.name: rule
    for rule in (Verified, Accepted, MaxRounds, MaxAttempts, Plateau, Diminishing, Failing, Elapsed, Spent)
}


def limits_money(rule: Rule) -> bool:
    """Return whether a rule, or one that it is made of, waits for money to be spent."""
    if isinstance(rule, AnyOf | AllOf):
        return any(limits_money(member) for member in rule.rules)
    return isinstance(rule, Spent) and rule.usd is not None


def rule_of(data: JsonValue, *, load: Callable[[str], Any] = plugins.load) -> Rule:
    """Return the rule that recipe data such as `["mypackage.rules:tired", {"max_rounds": 4}]` describes.

    Args:
        data: a table with one key, the path of a function or rule, or a list of these.
        load: finds what a path names.

    Raises:
        ConfigError: a rule or one of its settings is unknown, or a path leads to none.
    """
    if isinstance(data, str) and ":" in data:
        found = load(data)
        return found if isinstance(found, Rule) else FunctionRule(found, path=data)
    if isinstance(data, Sequence) and not isinstance(data, str) and data:
        rules = tuple(rule_of(item, load=load) for item in data)
        return rules[0] if len(rules) == 1 else AnyOf(rules=rules)
    if not isinstance(data, Mapping) or len(data) != 1:
        raise ConfigError(
            f"a stop rule is a table with one key, such as {{ max_rounds = 4 }}, or a function's path "
            f"'package.module:name', not {data!r}."
        )
    name, settings = next(iter(data.items()))
    if name == AllOf.name and isinstance(settings, Sequence) and not isinstance(settings, str) and settings:
        return AllOf(rules=tuple(rule_of(item, load=load) for item in settings))
    if name not in RULES:
        raise ConfigError(f"there is no stop rule {name!r}; there are {', '.join(sorted(RULES))}.")
    return _built(RULES[name], settings)


def _built(kind: type[Rule], settings: JsonValue) -> Rule:
    names = [f.name for f in dataclasses.fields(kind)]
    if settings is True:
        arguments: dict[str, Any] = {}
    elif isinstance(settings, Mapping):
        arguments = dict(settings)
    elif names:
        arguments = {names[0]: settings}
    else:
        raise ConfigError(f"stop rule {kind.name!r} is written {{ {kind.name} = true }}, not {settings!r}.")
    return plugins.built(f"stop rule {kind.name!r}", kind, arguments)
