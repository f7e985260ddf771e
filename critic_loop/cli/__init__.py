"""The command `critic-loop`: argument parsing and rendering, nothing else."""

from critic_loop.cli.app import app, main

__all__ = ["app", "main"]
