"""Built-in verifiers: deterministic evidence about answers, without a model.

Recipes refer to a verifier by name: a built-in one, an entry point in `critic_loop.verifiers`, or
`package.module:name`.
"""

from critic_loop.verifiers.answer import answer
from critic_loop.verifiers.named import VERIFIERS, verifier_named

__all__ = ["VERIFIERS", "answer", "verifier_named"]
