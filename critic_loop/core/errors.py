"""Every error that Critic Loop raises on purpose, and how far each one reaches.

    CriticLoopError
    ├── ConfigError            a setting is wrong or missing                      job
    ├── AssetError             an agent, recipe or prompt file is wrong           job
    ├── ModelError             a model call failed                                attempt
    │   ├── RateLimited        too many requests (retried, then raised)           attempt
    │   ├── ContextOverflow    the prompt does not fit                            attempt
    │   ├── Refused            the model declined                                 attempt
    │   ├── DeadlineExceeded   no answer in time                                  attempt
    │   ├── Unreachable        nothing answers at the address                     job
    │   ├── AuthFailed         the key is wrong or missing                        job
    │   └── CreditExhausted    the account is empty                               job
    ├── OutputError            text that does not fit its schema                  attempt
    ├── ToolError              a tool failed                                      attempt
    ├── SandboxUnavailable     programs cannot be run safely here                 job
    ├── VerifierError          a verifier failed                                  attempt
    ├── SearchError            a search asked for what cannot be                  tree
    ├── StoreError             trees cannot be written or read                    job
    └── ExportError            rows cannot be made                                job

The policy, in four sentences. Code that extends Critic Loop raises plain Python errors;
`boundary` types what escapes it. An error of scope *attempt* becomes a record and the loop goes
on; *tree* ends one tree; *job* ends the job without writing failures that are not failures.
A message says what was wrong, where, and what to do; `hint` holds the last of these.
Secrets never enter a message.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import ClassVar, Literal

Scope = Literal["attempt", "tree", "job"]


class CriticLoopError(Exception):
    """Base of all errors raised on purpose; `code` is stable and documented."""

    code: ClassVar[str] = "error"
    scope: ClassVar[Scope] = "job"

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Say what was wrong and where; `hint` says what to do about it."""
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class ConfigError(CriticLoopError):
    """A setting is wrong or missing."""

    code = "config"


class AssetError(CriticLoopError):
    """An agent, recipe or prompt file is wrong; the message names file, key and what was expected."""

    code = "asset"


class ModelError(CriticLoopError):
    """A model call failed."""

    code = "model"
    scope = "attempt"


class RateLimited(ModelError):
    """The endpoint asks for fewer requests."""

    code = "rate-limited"

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float | None = None) -> None:
        """Carry the endpoint's own wish for a pause, in seconds, where it gave one."""
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class ContextOverflow(ModelError):
    """The prompt does not fit into the model's context."""

    code = "context-overflow"


class Refused(ModelError):
    """The model declined to answer."""

    code = "refused"


class DeadlineExceeded(ModelError):
    """No answer came in time."""

    code = "deadline"


class Unreachable(ModelError):
    """Nothing answers at the address, even after retries."""

    code = "unreachable"
    scope = "job"


class AuthFailed(ModelError):
    """The key is wrong or missing."""

    code = "auth"
    scope = "job"


class CreditExhausted(ModelError):
    """The account has no credit left."""

    code = "credit"
    scope = "job"


class OutputError(CriticLoopError):
    """Text does not fit its schema."""

    code = "output"
    scope = "attempt"


class ToolError(CriticLoopError):
    """A tool failed."""

    code = "tool"
    scope = "attempt"


class SandboxUnavailable(CriticLoopError):
    """Programs cannot be run safely on this machine."""

    code = "sandbox"


class VerifierError(CriticLoopError):
    """A verifier failed; its verdict is an abstention."""

    code = "verifier"
    scope = "attempt"


class SearchError(CriticLoopError):
    """A search asked for something that cannot be: an unknown id, or waiting for nothing."""

    code = "search"
    scope = "tree"


class StoreError(CriticLoopError):
    """Trees cannot be written or read."""

    code = "store"


class ExportError(CriticLoopError):
    """Rows cannot be made from these trees."""

    code = "export"


@contextmanager
def boundary(kind: type[CriticLoopError], what: str) -> Generator[None]:
    """Give what escapes third-party code the type `kind`; typed errors and cancellations pass.

    Args:
        kind: the error to raise instead.
        what: what was being done, as in "running verifier 'applies'".
    """
    try:
        yield
    except CriticLoopError:
        raise
    except Exception as error:
        raise kind(f"{what}: {type(error).__name__}: {error}") from error
