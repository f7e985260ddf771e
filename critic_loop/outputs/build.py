"""From a spec's setting to a critique format.

Knows every built-in format by name. A format's module is loaded when a critic follows it.
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
    """Return the critique format of a name; one from outside by its entry point or `package.module:name`.

    Raises:
        ConfigError: there is none of this name.
    """
    if not isinstance(given, str):
        return given
    found = _built_in(given) or plugins.find(GROUP, given)
    if isinstance(found, type):
        found = found()
    if isinstance(found, CritiqueOutput):
        return found
    known = ", ".join([*_NAMES, *LIKELIHOODS, *plugins.names(GROUP)])
    raise ConfigError(f"There is no critique format {given!r}; there are {known}, or 'package.module:name'.")


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
