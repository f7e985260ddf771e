"""The base of all documents, and the document of an error."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from critic_loop.core.errors import CriticLoopError


class Document(BaseModel):
    """Base of what commands write: nothing is in it that its schema does not name."""

    model_config = ConfigDict(extra="forbid")


class Error(Document):
    """What was wrong, where, and what to do."""

    code: str
    """Stable: `config`, `asset`, `unreachable`, `auth`, ...; see the error's class."""
    message: str
    hint: str
    docs: str
    """Where the documentation says more, as in `reference/errors.html#config`."""
    details: list[str] = []
    """A line for each place, where several things are wrong."""

    @classmethod
    def of(cls, error: CriticLoopError, details: Sequence[str] = ()) -> Error:
        """Return an error as a document."""
        return cls(
            code=error.code, message=error.message, hint=error.hint, docs=error.docs, details=list(details)
        )


class ErrorDocument(Document):
    """What any command writes when it fails."""

    error: Error
