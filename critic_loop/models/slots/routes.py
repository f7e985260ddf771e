"""What a slot may be bound to: a model, a fallback chain, or a split of shares.

    Fallback("vllm:critic@http://gpu:8000", "openai:NAME")    # or "vllm:critic@http://gpu:8000 | openai:NAME"
    Split({"vllm:critic@http://gpu:8000": 90, "openai:NAME": 10})    # or "90% vllm:... + 10% openai:..."

Knows how a binding is written and parsed. Does not know which candidate is asked next (`wrappers.fallback`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from critic_loop.core.errors import ConfigError
from critic_loop.core.printable import without_secrets
from critic_loop.core.protocols import Model
from critic_loop.models.wrappers.breaker import CREDIT, INVALID, OUTAGE, REFUSAL, Cause, FailurePolicy
from critic_loop.models.wrappers.fallback import Chain

Resolve: TypeAlias = "Callable[[str | Model], Model]"
_SHARE = re.compile(r"\s*(?P<share>\d+(?:\.\d+)?)%\s+(?P<route>.+)")


class Fallback:
    """Models in order of preference: where one fails, the next is called; one that keeps failing is paused.

    Each candidate but the last gets a request at most once more before the next one gets it. A paused
    candidate is tried with one call when its pause is over.
    """

    def __init__(
        self,
        *candidates: str | Model,
        outage: FailurePolicy = OUTAGE,
        refusal: FailurePolicy = REFUSAL,
        invalid: FailurePolicy = INVALID,
        credit: FailurePolicy = CREDIT,
        retries: int = 1,
    ) -> None:
        """Name the candidates, the preferred one first.

        Args:
            candidates: specs or models.
            outage: nothing answers, an error that does not pass, too many requests, or no answer in time.
            refusal: the model declined.
            invalid: an answer that cannot be parsed, where the caller reports that.
            credit: the account is empty.
            retries: how often a candidate that is not the last is sent the same again before the next is asked.

        Raises:
            ConfigError: there are fewer than two candidates.
        """
        if len(candidates) < 2:
            raise ConfigError("a fallback chain needs two candidates or more.", hint='Write "FIRST | SECOND".')
        self._candidates = candidates
        self._on: dict[Cause, FailurePolicy] = {
            "outage": outage, "refusal": refusal, "invalid": invalid, "credit": credit,
        }  # fmt: skip
        self._retries = retries

    def __repr__(self) -> str:
        return f"Fallback({_shown(self.spec)!r})"

    @property
    def spec(self) -> str:
        """The chain as one string."""
        return " | ".join(
            candidate if isinstance(candidate, str) else candidate.spec for candidate in self._candidates
        )

    @property
    def parts(self) -> tuple[str | Model, ...]:
        """The candidates."""
        return self._candidates

    def route(self, resolve: Resolve) -> Route:
        """Return the route over the candidates' models."""
        candidates = tuple(resolve(candidate) for candidate in self._candidates)
        return Route(
            " | ".join(candidate.spec for candidate in candidates),
            (Chain(100.0, candidates, self._on, self._retries),),
        )


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
            chains.append(Chain(share, inner.candidates, inner.on, inner.retries))
        spec = " + ".join(
            f"{c.share:g}% {' | '.join(candidate.spec for candidate in c.candidates)}" for c in chains
        )
        return Route(spec, tuple(chains))


Bindable: TypeAlias = "str | Model | Fallback | Split | Route"
"""What a slot can be bound to; a string is a spec, a chain `A | B`, or a split `90% A + 10% B`."""


@dataclass(frozen=True, slots=True)
class Route:
    """What a slot is bound to, made of models that are ready."""

    spec: str
    chains: tuple[Chain, ...]

    def models(self) -> Iterator[Model]:
        """Iterate over all its models."""
        for chain in self.chains:
            yield from chain.candidates

    def first(self) -> tuple[Model, ...]:
        """Return the first candidate of each share: these are warmed before a swap."""
        return tuple(chain.candidates[0] for chain in self.chains if chain.share > 0)

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
        ConfigError: a part of a split has no share, or a chain lacks a candidate.
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
    candidates = [candidate.strip() for candidate in text.split(" | ")]
    return Fallback(*candidates) if len(candidates) > 1 else candidates[0]


def _shown(text: str) -> str:
    """Return a chain or split as it may be shown: no part's address with a user, a password or a query."""
    return "".join(without_secrets(part) for part in re.split(r"( \| | \+ )", text))
