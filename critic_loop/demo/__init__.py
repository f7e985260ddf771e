"""The embedded world: Countdown puzzles, their exact verifier and a small trained model.

It lets a stranger watch a real model improve by feedback with no key and no GPU.
Importing this package loads the standard library only; the model's runtime
(numpy, ONNX Runtime) loads with its first call, and PyTorch only in training.
"""

from critic_loop.demo.countdown import (
    Check,
    ErrorKind,
    Puzzle,
    check,
    generate,
    prompt_of,
    puzzle_of,
    sample_puzzles,
    solutions,
    solve,
)

__all__ = [
    "Check",
    "ErrorKind",
    "Puzzle",
    "check",
    "generate",
    "prompt_of",
    "puzzle_of",
    "sample_puzzles",
    "solutions",
    "solve",
]
