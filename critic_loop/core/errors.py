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
    │   ├── CreditExhausted    the account is empty                               job
    │   └── SameError          call after call fails in the same way              job
    ├── OutputError            text that does not fit its schema                  attempt
    ├── ToolError              a tool failed                                      attempt
    ├── SandboxUnavailable     programs cannot be run safely here                 job
    ├── VerifierError          a verifier failed                                  attempt
    ├── BudgetSpent            no call is left, or no time: a stop reason         tree
    ├── SearchError            a search asked for what cannot be                  tree
    ├── StoreError             trees cannot be written or read                    job
    ├── NotRecorded            a replay asks what the stored run did not          job
    └── ExportError            rows cannot be made                                job

The policy, in four sentences. Code that extends Critic Loop raises plain Python errors;
`boundary` types what escapes it. An error of scope *attempt* becomes a record and the loop goes
on; *tree* ends one tree; *job* ends the job without writing failures that are not failures.
A message says what was wrong, where, and what to do; `hint` holds the last of these.
Secrets never enter a message.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import ClassVar, Literal

_NUMBERS = re.compile(r"[0-9a-fA-F-]{8,}|\d+")
"""Request ids and counts."""

Scope = Literal["attempt", "tree", "job"]


class CriticLoopError(Exception):
    """Base of all errors raised on purpose; `code` is stable and documented.

    As a code of its own it stands for a defect: in Critic Loop, or in code that it was given. Run the command
    again with `--traceback`, or look at the exception's cause.
    """

    code: ClassVar[str] = "error"
    scope: ClassVar[Scope] = "job"

    @property
    def docs(self) -> str:
        """The place in the documentation that says what to do, as in `reference/errors.html#config`."""
        return f"reference/errors.html#{self.code}"

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Say what was wrong and where; `hint` says what to do about it."""
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class ConfigError(CriticLoopError):
    """A setting is wrong or missing.

    The message names the setting, and the hint what is accepted. Nothing was sent.
    """

    code = "config"


class AssetError(CriticLoopError):
    """An agent, recipe or prompt file is wrong; the message names file, key and what was expected.

    Mend the file. `critic-loop recipes check` names every problem with its file and line. Nothing was sent.
    """

    code = "asset"


class ModelError(CriticLoopError):
    """A model call failed.

    The attempt or critique that needed the call is recorded as failed, and the loop goes on; three failures in
    a row end the tree. Look at `error` of its reply.
    """

    code = "model"
    scope = "attempt"


class RateLimited(ModelError):
    """The endpoint asks for fewer requests.

    The call was sent again, as often as `attempts` in the model's settings allows, with the pauses that the
    endpoint asked for. Lower `in_flight`.
    """

    code = "rate-limited"

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float | None = None) -> None:
        """Carry the endpoint's own wish for a pause, in seconds, where it gave one."""
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class ContextOverflow(ModelError):
    """The prompt does not fit into the model's context.

    Show the actor less (`memory = "last"`, fewer fields in `show`), or use a model with a longer context.
    """

    code = "context-overflow"


class Refused(ModelError):
    """The model declined to answer.

    The attempt has no answer; the next one may. If all are refused, the task or the prompt is the reason.
    """

    code = "refused"


class DeadlineExceeded(ModelError):
    """No answer came in time.

    Raise `timeout_s` in the model's settings, or ask for less with `max_tokens`.
    """

    code = "deadline"


class Unreachable(ModelError):
    """Nothing answers at the address, even after retries.

    Check that the server runs and that address and model name are right. Then run the same again: finished
    calls are not repeated.
    """

    code = "unreachable"
    scope = "job"


class AuthFailed(ModelError):
    """The key is wrong or missing.

    Set the variable that the message names. Then run the same again: finished calls are not repeated.
    """

    code = "auth"
    scope = "job"


class CreditExhausted(ModelError):
    """The account has no credit left.

    Pay, or name another model. Then run the same again: finished calls are not repeated.
    """

    code = "credit"
    scope = "job"


class SameError(ModelError):
    """Call after call of a job failed in the same way, in whatever tree, and none was answered in between.

    The message ends with what they failed with. Mend that, then run the same again: finished calls are not
    repeated. `same_error` says how many it takes.
    """

    code = "same-error"
    scope = "job"


class OutputError(CriticLoopError):
    """Text does not fit its schema.

    From an actor it is feedback for the next revision, from a critic an abstention. If it happens often, ask
    for a simpler output, or allow more tokens.
    """

    code = "output"
    scope = "attempt"


class ToolError(CriticLoopError):
    """A tool failed.

    The actor is told, and may try again. Mend the tool if it raises for arguments that fit its signature.
    """

    code = "tool"
    scope = "attempt"


class SandboxUnavailable(CriticLoopError):
    """Programs cannot be run safely on this machine.

    Nothing was run. Use a machine with a supported sandbox.
    """

    code = "sandbox"


class VerifierError(CriticLoopError):
    """A verifier failed; its verdict is an abstention.

    Mend the verifier: it raised, or returned something other than a Feedback, a bool or a number from 0 to 1.
    No answer was failed by it.
    """

    code = "verifier"
    scope = "attempt"


class BudgetSpent(CriticLoopError):
    """No call is left, or no time. A stop reason, not a failure: what was not asked stays open.

    Raise `max_calls`, or allow more time, and run the tree again: it goes on where it stopped.
    """

    code = "budget"
    scope = "tree"


class SearchError(CriticLoopError):
    """A search asked for something that cannot be: an unknown id, or waiting for nothing.

    Mend the search; `critic_loop.testing.search_contract` finds most such mistakes.
    """

    code = "search"
    scope = "tree"


class StoreError(CriticLoopError):
    """Trees cannot be written or read.

    Check path, permissions and the space that is left. A file of a newer version needs a newer Critic Loop.
    """

    code = "store"


class NotRecorded(CriticLoopError):
    """A replay asks something that the stored run did not ask.

    The message shows the difference. Replay with the recipe, prompts, task and seed of the stored run, or run
    with a model.
    """

    code = "replay"


class ExportError(CriticLoopError):
    """Rows cannot be made from these trees.

    The message counts what was left out, and why. Most often the trees hold no two answers of different worth.
    """

    code = "export"


def gist(error: CriticLoopError) -> str:
    """Return what errors that are the same have in common: kind and message, without numbers and ids."""
    return f"{type(error).__name__} {_NUMBERS.sub('#', str(error))}"


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
