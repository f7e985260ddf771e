"""Parsers of what models write, with their schemas: answers and critiques.

A parser returns a typed value, or the reason why there is none. No prompts, no models, no I/O.
"""

from typing import TYPE_CHECKING

from critic_loop.core.lazy import lazy
from critic_loop.core.protocols import CritiqueOutput, Output, Parsed
from critic_loop.outputs.answer import output_of
from critic_loop.outputs.build import critique_of
from critic_loop.outputs.final import agree, final_part, normalised
from critic_loop.outputs.likelihood import LIKELIHOODS, Likelihood
from critic_loop.outputs.plain import BoxedOutput, ChoiceOutput, CodeOutput, TextOutput
from critic_loop.outputs.typed import JsonOutput

if TYPE_CHECKING:
    from critic_loop.outputs.critique import Critique, CritiqueJson, Rubric
    from critic_loop.outputs.verdict import PairVerdict, VerdictLine

__all__ = [
    "LIKELIHOODS",
    "BoxedOutput",
    "ChoiceOutput",
    "CodeOutput",
    "Critique",
    "CritiqueJson",
    "CritiqueOutput",
    "JsonOutput",
    "Likelihood",
    "Output",
    "PairVerdict",
    "Parsed",
    "Rubric",
    "TextOutput",
    "VerdictLine",
    "agree",
    "critique_of",
    "final_part",
    "normalised",
    "output_of",
]
__getattr__ = lazy(
    __name__,
    {"critique": ("Critique", "CritiqueJson", "Rubric"), "verdict": ("PairVerdict", "VerdictLine")},
)
