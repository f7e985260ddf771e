"""What an actor may call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from critic_loop.core.protocols import ToolSpec


class ToolLike(Protocol):
    """A tool that an actor may call."""

    @property
    def spec(self) -> ToolSpec:
        """What the model is told."""
        ...

    async def run(self, arguments: Mapping[str, Any]) -> str:
        """Return what the tool says.

        Raises:
            ToolError: it failed; the text goes back to the actor.
        """
        ...
