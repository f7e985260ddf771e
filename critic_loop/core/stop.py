"""When to stop: rules as values with an algebra, which say which one fired.

    Verified() | Accepted() | MaxRounds(6) | Plateau(rounds=2, gain=0.02) | Spent(tokens=50_000)

A plain function of `Progress` stands wherever a rule does: `tired | MaxRounds(6)`. A rule is asked after each
attempt has been judged. Rules read `Progress`; they never change it. A limit that is reached is a stop reason,
never an error: the loop returns the best so far.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, ClassVar

from pydantic import Field, JsonValue

from critic_loop.core import plugins
from critic_loop.core.errors import ConfigError, StopRuleError, boundary
from critic_loop.core.records import Spend
from critic_loop.core.tree import Tree
from critic_loop.core.value import NOT_JUDGED, Value

Count = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""Checked where a rule is read from data."""

LIMITS = frozenset({"budget", "spent", "elapsed", "steps"})
"""Stop reasons that cut a search short."""
GOES_ON = LIMITS | {"parked", "failing", "interrupted"}
"""Stop reasons after which a tree may be resumed: with more budget or time, new feedback, a mended server."""


@dataclass(frozen=True, slots=True)
class StopReason:
    """Which rule ended a loop, and what a person is told."""

    name: str
    text: str = ""


@dataclass(slots=True)
class Progress:
    """What rules look at: a running summary, so that each rule costs O(1) an attempt."""

    tree: Tree
    spend: Spend = field(default_factory=Spend)
    judged: int = 0
    latest: str = ""
    """The attempt judged last."""
    unfinished: bool = False
    """Whether it is a step or a thought, whose worth is no answer's: only counts and limits look at it."""
    value: Value = field(default_factory=Value)
    """Its worth; of what is unfinished nothing is known."""
    best_scores: list[float] = field(default_factory=list[float])
    """Best score so far after each judged answer, in [0, 1]; unjudged counts as 0 here only."""
    calls: list[int] = field(default_factory=list[int])
    """Model calls made by the time when each of them was judged."""
    failures_in_a_row: int = 0
    failed_group: str | None = None

    def observe(self, attempt_id: str, spend: Spend, value: Value) -> None:
        """Take note that `attempt_id` has all its feedback.

        Args:
            attempt_id: the attempt.
            spend: what the loop has spent so far.
            value: what the attempt is worth (`evidence.value_of`); not looked at where it is unfinished.
        """
        self.latest, self.spend, self.judged = attempt_id, spend, self.judged + 1
        self.unfinished = self.tree[attempt_id].unfinished
        self.value = NOT_JUDGED if self.unfinished else value
        if not self.unfinished:
            self.calls.append(spend.calls)
            score = self.value.score or 0.0
            self.best_scores.append(max(score, self.best_scores[-1] if self.best_scores else 0.0))
        self._count_failure(attempt_id)

    def _count_failure(self, attempt_id: str) -> None:
        """Count failures in a row; attempts that one request was to answer fail as one."""
        ask = self.tree.asks[attempt_id]
        if self.tree[attempt_id].status != "failed":
            self.failures_in_a_row, self.failed_group = 0, None
        elif ask.group is None or ask.group != self.failed_group:
            self.failures_in_a_row, self.failed_group = self.failures_in_a_row + 1, ask.group


StopFunction = Callable[[Progress], StopReason | str | bool | None]
"""What may stand as a stop rule: a `Rule`, or a function. To stop, a function returns a reason, a text or True
(then its own name is the reason's); to go on, None, False or an empty text."""
_RETURNS = "A stop rule returns a StopReason, a text or True to stop, and None or False to go on."


@dataclass(frozen=True)
class Rule:
    """A stop rule. Combine with `|` (either) and `&` (both), also with a plain function on either side."""

    name: ClassVar[str] = ""

    def __call__(self, progress: Progress) -> StopReason | None:  # noqa: ARG002
        """Return why to stop, or None to go on."""
        raise TypeError(f"{type(self).__name__} is not a rule of its own: use one of {sorted(RULES)}")

    def __or__(self, other: StopFunction) -> Rule:
        return AnyOf(rules=(*_members(self, AnyOf), *_members(as_rule(other), AnyOf)))

    def __ror__(self, other: StopFunction) -> Rule:
        return as_rule(other) | self

    def __and__(self, other: StopFunction) -> Rule:
        return AllOf(rules=(*_members(self, AllOf), *_members(as_rule(other), AllOf)))

    def __rand__(self, other: StopFunction) -> Rule:
        return as_rule(other) & self

    def dump(self) -> JsonValue:
        """Return the rule as recipe data, such as `{"max_rounds": 4}`."""
        settings = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        if not settings:
            return {self.name: True}
        if len(settings) == 1:
            return {self.name: next(iter(settings.values()))}
        return {self.name: {name: value for name, value in settings.items() if value is not None}}


@dataclass(frozen=True)
class FunctionRule(Rule):
    """A plain function as a stop rule; `as_rule` makes it.

    Raises:
        ConfigError: it is no function of one argument that can be called here: a class, or async.
    """

    function: StopFunction
    path: str = field(default="", compare=False)
    """How a recipe names it, as in `package.module:name`, where one did."""
    name: ClassVar[str] = "function"

    def __post_init__(self) -> None:
        """Refuse what cannot be asked."""
        given: Any = self.function
        if isinstance(given, type):
            raise ConfigError(
                f"{given.__name__} is a class, no stop rule.", hint=f"Make one: {given.__name__}(...)."
            )
        if not callable(given):
            hint = (
                "Give a rule such as MaxRounds(3), or a function of the progress; combine rules with | and &."
            )
            raise ConfigError(f"{given!r} is no stop rule.", hint=hint)
        if inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(type(given).__call__):
            raise ConfigError(f"stop rule {_title(self)!r} is async.", hint="Write it with a plain def.")

    def __call__(self, progress: Progress) -> StopReason | None:
        """Ask the function."""
        return _reason(self, self.function(progress), progress)

    def dump(self) -> JsonValue:
        """Return the path by which a recipe names the function.

        Raises:
            ConfigError: no path leads to it: it is a lambda, or was made inside another function.
        """
        module = getattr(self.function, "__module__", "")
        path = self.path or f"{module}:{getattr(self.function, '__qualname__', '')}"
        try:
            found = None if module == "__main__" else plugins.load(path)
        except ConfigError:
            found = None
        if found is not self.function:
            raise ConfigError(
                f"stop rule {_title(self)!r} cannot be written as data: {path!r} does not lead to it.",
                hint="Define it at the top level of a module that can be imported.",
            )
        return path


@dataclass(frozen=True, init=False)
class AnyOf(Rule):
    """Stops when one of its rules does; the first in order names the reason."""

    rules: tuple[Rule, ...]
    name: ClassVar[str] = "any"

    def __init__(self, rules: Iterable[StopFunction]) -> None:
        """Take rules and functions."""
        object.__setattr__(self, "rules", tuple(map(as_rule, rules)))

    def __call__(self, progress: Progress) -> StopReason | None:
        """Return the first reason.

        Raises:
            StopRuleError: a rule raised, or returned something else.
        """
        return next((reason for rule in self.rules if (reason := _asked(rule, progress))), None)

    def dump(self) -> JsonValue:
        """Return the rules as a list."""
        return [rule.dump() for rule in self.rules]


@dataclass(frozen=True, init=False)
class AllOf(Rule):
    """Stops when all of its rules would."""

    rules: tuple[Rule, ...]
    name: ClassVar[str] = "all"

    def __init__(self, rules: Iterable[StopFunction]) -> None:
        """Take rules and functions."""
        object.__setattr__(self, "rules", tuple(map(as_rule, rules)))

    def __call__(self, progress: Progress) -> StopReason | None:
        """Return all reasons as one, if each rule gives one.

        Raises:
            StopRuleError: a rule raised, or returned something else.
        """
        reasons = [_asked(rule, progress) for rule in self.rules]
        given = [reason for reason in reasons if reason]
        if len(given) < len(self.rules):
            return None
        return StopReason("+".join(r.name for r in given), "; ".join(r.text for r in given if r.text))

    def dump(self) -> JsonValue:
        """Return the rules under `all`."""
        return {self.name: [rule.dump() for rule in self.rules]}


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
        """Compare the best score with that of `rounds` attempts ago. Silent while nobody scores."""
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
        """Compare score and calls with those of `rounds` attempts ago. Silent while nobody scores."""
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
    """Loops refuse it where nobody knows what one of their models costs."""
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


def as_rule(given: StopFunction) -> Rule:
    """Return a rule as it is, and a plain function as a rule.

    Raises:
        ConfigError: it is neither.
    """
    return given if isinstance(given, Rule) else FunctionRule(given)


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


def _asked(rule: Rule, progress: Progress) -> StopReason | None:
    """Ask a rule; an error of its own names it."""
    with boundary(StopRuleError, f"tree {progress.tree.id!r}: stop rule {_title(rule)!r}"):
        return _reason(rule, rule(progress), progress)


def _reason(rule: Rule, given: object, progress: Progress) -> StopReason | None:
    """Return what a rule's answer means.

    Raises:
        StopRuleError: it is no answer of a stop rule.
    """
    if given is None or isinstance(given, StopReason):
        return given
    if isinstance(given, bool):
        return StopReason(_title(rule)) if given else None
    if isinstance(given, str) and not isinstance(given, Enum):
        return StopReason(_title(rule), given) if given else None
    raise StopRuleError(
        f"tree {progress.tree.id!r}: stop rule {_title(rule)!r} returned {given!r}.", hint=_RETURNS
    )


def _title(rule: Rule) -> str:
    """Return the name that a person knows a rule by: its class's own, or its function's."""
    if not isinstance(rule, FunctionRule):
        return vars(type(rule)).get("name") or type(rule).__name__
    function: Any = rule.function
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__name__", type(function).__name__)


def _members(rule: Rule, kind: type[AnyOf] | type[AllOf]) -> tuple[Rule, ...]:
    return rule.rules if isinstance(rule, kind) else (rule,)
