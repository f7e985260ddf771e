"""What a slot may be bound to: a model, a fallback chain, or a split of shares.

    Fallback("vllm:critic@http://gpu:8000", "openai:NAME")    # or "vllm:critic@http://gpu:8000 | openai:NAME"
    Split({"vllm:critic@http://gpu:8000": 90, "openai:NAME": 10})    # or "90% vllm:... + 10% openai:..."

Knows who is asked next and why. Does not know slots (`models.slots.switchboard`), nor sends anything.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from pydantic import JsonValue

from critic_loop.core.errors import ConfigError, CriticLoopError, NotSent
from critic_loop.core.printable import without_secrets
from critic_loop.core.protocols import Model
from critic_loop.core.records import EventKind
from critic_loop.models.wrappers.breaker import CREDIT, INVALID, OUTAGE, REFUSAL, Breaker, Cause, On, cause_of

Resolve: TypeAlias = "Callable[[str | Model], Model]"
_SHARE = re.compile(r"\s*(?P<share>\d+(?:\.\d+)?)%\s+(?P<route>.+)")


@dataclass(frozen=True, slots=True)
class Fell:
    """A call went on to the next leg; fields as they go into an event's data."""

    old: str
    new: str
    cause: Cause
    error: str

    kind: ClassVar[EventKind] = "fallback"

    @property
    def text(self) -> str:
        """What a person is told."""
        return f"{self.old} -> {self.new} ({self.cause}: {self.error})"

    @property
    def data(self) -> dict[str, JsonValue]:
        """The fields."""
        return {"old": self.old, "new": self.new, "cause": self.cause, "error": self.error}


class Fallback:
    """Models in order of preference: where one fails, the next is asked; one that keeps failing is left alone.

    Each leg but the last is sent a request once more at most before the next leg is asked. A leg that was left
    alone is tried again with one call after a pause.
    """

    def __init__(
        self,
        *legs: str | Model,
        outage: On = OUTAGE,
        refusal: On = REFUSAL,
        invalid: On = INVALID,
        credit: On = CREDIT,
        retries: int = 1,
    ) -> None:
        """Name the legs, the preferred one first.

        Args:
            legs: specs or models.
            outage: nothing answers, an error that does not pass, too many requests, or no answer in time.
            refusal: the model declined.
            invalid: an answer that cannot be read, where who asks can tell.
            credit: the account is empty.
            retries: how often a leg that is not the last is sent the same again before the next is asked.

        Raises:
            ConfigError: there are fewer than two legs.
        """
        if len(legs) < 2:
            raise ConfigError("a fallback chain has two legs or more.", hint='Write "FIRST | SECOND".')
        self._legs = legs
        self._on: dict[Cause, On] = {
            "outage": outage, "refusal": refusal, "invalid": invalid, "credit": credit,
        }  # fmt: skip
        self._retries = retries

    def __repr__(self) -> str:
        return f"Fallback({_shown(self.spec)!r})"

    @property
    def spec(self) -> str:
        """The chain as one string."""
        return " | ".join(leg if isinstance(leg, str) else leg.spec for leg in self._legs)

    @property
    def parts(self) -> tuple[str | Model, ...]:
        """The legs."""
        return self._legs

    def route(self, resolve: Resolve) -> Route:
        """Return the route over the legs' models."""
        legs = tuple(resolve(leg) for leg in self._legs)
        return Route(" | ".join(leg.spec for leg in legs), (Chain(100.0, legs, self._on, self._retries),))


class Split:
    """Shares of the attempts for each of several models or chains; the same attempt always gets the same."""

    def __init__(self, shares: Mapping[str | Model | Fallback, float]) -> None:
        """Give each its share; only their proportions count.

        Raises:
            ConfigError: a share is negative, or none is above 0.
        """
        if min(shares.values(), default=0.0) < 0 or sum(shares.values()) <= 0:
            raise ConfigError(
                "shares are 0 or more, and one is above 0.", hint='Write "90% FIRST + 10% SECOND".'
            )
        self._shares = dict(shares)

    def __repr__(self) -> str:
        return f"Split({_shown(self.spec)!r})"

    @property
    def spec(self) -> str:
        """The split as one string."""
        return " + ".join(
            f"{share:g}% {part if isinstance(part, str) else part.spec}" for part, share in self._shares.items()
        )

    @property
    def parts(self) -> tuple[str | Model | Fallback, ...]:
        """What has a share."""
        return tuple(self._shares)

    def route(self, resolve: Resolve) -> Route:
        """Return the route over the parts' chains."""
        chains: list[Chain] = []
        for part, share in self._shares.items():
            inner = route_of(part, resolve).chains[0]
            chains.append(Chain(share, inner.legs, inner.on, inner.retries))
        spec = " + ".join(f"{c.share:g}% {' | '.join(leg.spec for leg in c.legs)}" for c in chains)
        return Route(spec, tuple(chains))


Bindable: TypeAlias = "str | Model | Fallback | Split | Route"
"""What a slot can be bound to; a string is a spec, a chain `A | B`, or a split `90% A + 10% B`."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Models in order, for one share of the attempts."""

    share: float
    legs: tuple[Model, ...]
    on: Mapping[Cause, On]
    retries: int


@dataclass(frozen=True, slots=True)
class Route:
    """What a slot is bound to, made of models that are ready."""

    spec: str
    chains: tuple[Chain, ...]

    def models(self) -> Iterator[Model]:
        """Iterate over all its models."""
        for chain in self.chains:
            yield from chain.legs

    def first(self) -> tuple[Model, ...]:
        """Return those that a binding sends to while all is well: who is warmed before a swap."""
        return tuple(chain.legs[0] for chain in self.chains if chain.share > 0)

    def chain(self, key: str) -> Chain:
        """Return the chain for a key, such as an attempt's id; the same for the same, always."""
        if len(self.chains) == 1:
            return self.chains[0]
        point = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) / 2**64
        point *= sum(chain.share for chain in self.chains)
        for chain in self.chains:
            point -= chain.share
            if point < 0:
                return chain
        return next(chain for chain in reversed(self.chains) if chain.share > 0)


class Way:
    """One call's way along a chain: which leg is asked, and which after it."""

    def __init__(self, chain: Chain, breakers: Sequence[Breaker]) -> None:
        """Stand at the first leg that may be asked; where none may, at the one whose pause ends first."""
        self._chain = chain
        self._breakers = breakers
        self._at = -1
        self._trial = False
        if not breakers:  # one leg: nobody to turn to, so nothing to break
            self._at = 0
        elif not self._advance():
            self._at = min(range(len(breakers)), key=lambda leg: breakers[leg].opens_until)
            self._trial = breakers[self._at].admit(_now(), force=True) == "trial"

    @property
    def model(self) -> Model:
        """Who is asked now."""
        return self._chain.legs[self._at]

    @property
    def retries(self) -> int | None:
        """How often the model may be sent the same again; None leaves it to the model."""
        if not self._more():
            return None
        return 0 if self._trial else self._chain.retries

    @property
    def rejects(self) -> bool:
        """Whether an answer that cannot be read is a failure, because somebody else may give a better one."""
        return self._more() and self._chain.on["invalid"].fall_back

    def answered(self) -> None:
        """Take note that the model answered."""
        if self._breakers:
            self._breakers[self._at].answered(trial=self._trial)

    def failed(self, error: CriticLoopError) -> Fell | None:
        """Take note that it failed; go on to the next leg, or return None: the error stands."""
        cause = None if isinstance(error, NotSent) else cause_of(error)
        if not self._breakers or cause is None:
            return self.left()
        on, old = self._chain.on[cause], self.model.spec
        self._breakers[self._at].failed(cause, on, _now(), trial=self._trial)
        if not on.fall_back or not self._advance():
            return None
        return Fell(old, self.model.spec, cause, error.message)

    def left(self) -> None:
        """Take note that the call ended without telling anything about the model."""
        if self._breakers:
            self._breakers[self._at].left(_now(), trial=self._trial)

    def _more(self) -> bool:
        return any(breaker.would_admit(_now()) for breaker in self._breakers[self._at + 1 :])

    def _advance(self) -> bool:
        """Go to the next leg that may be asked."""
        for leg in range(self._at + 1, len(self._breakers)):
            admission = self._breakers[leg].admit(_now())
            if admission != "no":
                self._at, self._trial = leg, admission == "trial"
                return True
        return False


def route_of(given: Bindable, resolve: Resolve) -> Route:
    """Return the route that is meant.

    Raises:
        ConfigError: a spec cannot be resolved, or a chain or split is written wrongly.
    """
    if isinstance(given, Route):
        for model in given.models():
            resolve(model)  # which may refuse it
        return given
    parsed = parse_route(given) if isinstance(given, str) else given
    if isinstance(parsed, Fallback | Split):
        return parsed.route(resolve)
    model = resolve(parsed)
    return Route(model.spec, (Chain(100.0, (model,), {}, 0),))


def parse_route(text: str) -> str | Fallback | Split:
    """Return the chain or split that a string writes; a plain spec as it is.

    Raises:
        ConfigError: a part of a split has no share, or a chain lacks a leg.
    """
    parts = text.split(" + ")
    shares = [_SHARE.fullmatch(part) for part in parts]
    if not any(shares):
        return _chain_of(text)
    if not all(shares):
        raise ConfigError(
            f"{_shown(text)!r}: each part needs its share.", hint='Write "90% FIRST + 10% SECOND".'
        )
    return Split({_chain_of(match["route"]): float(match["share"]) for match in shares if match})


def specs_in(text: str) -> list[str]:
    """Return the specs, or names of tables, that a string such as `A | B` or `90% A + 10% B` is made of.

    Raises:
        ConfigError: as `parse_route`.
    """
    return [*dict.fromkeys(_parts(parse_route(text)))]


def _parts(given: Bindable) -> Iterator[str]:
    if isinstance(given, str):
        yield given
    elif isinstance(given, Fallback | Split):
        for part in given.parts:
            yield from _parts(part)


def _chain_of(text: str) -> str | Fallback:
    legs = [leg.strip() for leg in text.split(" | ")]
    return Fallback(*legs) if len(legs) > 1 else legs[0]


def _shown(text: str) -> str:
    """Return a chain or split as it may be shown: no part's address with a user, a password or a query."""
    return "".join(without_secrets(part) for part in re.split(r"( \| | \+ )", text))


def _now() -> float:
    return asyncio.get_running_loop().time()
