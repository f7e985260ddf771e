"""The demo: Countdown puzzles, their exact verifier and a small trained model.

It shows a real model that improves by feedback, without an API key or a GPU. Importing this package loads the
standard library only; the model's runtime (numpy, ONNX Runtime) is imported at its first call, and PyTorch only
for training.
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
