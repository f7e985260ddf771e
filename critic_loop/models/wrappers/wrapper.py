"""The base class of models around models."""

from __future__ import annotations

from critic_loop.core.protocols import Model


class ModelWrapper:
    """A model with the spec of the model that it wraps; closing it closes that."""

    def __init__(self, model: Model) -> None:
        """Wrap `model`."""
        self.inner = model
        """The wrapped model."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inner!r})"

    @property
    def spec(self) -> str:
        """The wrapped model's name in records."""
        return self.inner.spec

    async def aclose(self) -> None:
        """Close the wrapped model."""
        await self.inner.aclose()
