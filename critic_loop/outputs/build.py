"""Returns the critique format for a setting of a spec.

Knows all built-in formats by name. The module of a format is imported on first use.
"""

from __future__ import annotations

from functools import cache

from critic_loop.core import plugins
from critic_loop.core.errors import ConfigError
from critic_loop.core.protocols import CritiqueOutput
from critic_loop.outputs.likelihood import LIKELIHOODS

GROUP = "critic_loop.critiques"
_NAMES = ("critique", "rubric", "verdict", "pair")


def critique_of(given: str | CritiqueOutput) -> CritiqueOutput:
    """Return the critique format of a name; a format is returned unchanged.

    Args:
        given: a built-in name, the name of an entry point in `critic_loop.critiques`, `package.module:name`, or
            a format.

    Raises:
        ConfigError: the name is unknown.
    """
    if not isinstance(given, str):
        return given
    found = _built_in(given) or plugins.find(GROUP, given)
    if isinstance(found, type):
        found = found()
    if isinstance(found, CritiqueOutput):
        return found
    known = ", ".join([*_NAMES, *LIKELIHOODS, *plugins.names(GROUP)])
    raise ConfigError(
        f"unknown critique format {given!r}.", hint=f"Write one of {known}, or 'package.module:name'."
    )


@cache
def _built_in(name: str) -> CritiqueOutput | None:
    match name:
        case "critique" | "rubric":
            from critic_loop.outputs.critique import CritiqueJson

            return CritiqueJson(name)
        case "verdict":
            from critic_loop.outputs.verdict import VerdictLine

            return VerdictLine()
        case "pair":
            from critic_loop.outputs.verdict import PairVerdict

            return PairVerdict()
        case _:
            return None
