"""Deterministic evidence about answers. A verifier never asks a model.

A verifier has a name by which recipes call it: a built-in one, an entry point of
`critic_loop.verifiers`, or `package.module:name`.
"""

from critic_loop.verifiers.answer import answer
from critic_loop.verifiers.named import VERIFIERS, verifier_named

__all__ = ["VERIFIERS", "answer", "verifier_named"]
