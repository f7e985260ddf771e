"""Stop rules as values: what a rule is, and how rules and functions combine with `|` and `&`.

Knows how a rule is asked and what its answer means. Does not know the published rules (`core.stop`).
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar

from pydantic import JsonValue

from critic_loop.core import plugins
from critic_loop.core.errors import ConfigError, StopRuleError, boundary
from critic_loop.core.progress import Progress, StopReason

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
        raise TypeError(
            f"{type(self).__name__} is not a rule of its own: use one of critic_loop.core.stop.RULES"
        )

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
        """Refuse a class, and an object that cannot be called."""
        given: Any = self.function
        if isinstance(given, type):
            raise ConfigError(
                f"{given.__name__} is a class, not a stop rule.",
                hint=f"Pass an instance: {given.__name__}(...).",
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


def as_rule(given: StopFunction) -> Rule:
    """Return a rule as it is, and a plain function as a rule.

    Raises:
        ConfigError: it is neither.
    """
    return given if isinstance(given, Rule) else FunctionRule(given)


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
