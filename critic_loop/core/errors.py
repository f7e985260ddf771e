"""Every error that Critic Loop raises on purpose, and how far each one reaches.

    CriticLoopError
    ├── ConfigError            a setting is wrong or missing                      job
    │   ├── AlreadyRunning     the tree is being run already                      job
    │   ├── OtherTask          the tree was begun with another task               job
    │   ├── OtherLoop          the tree was begun with another loop               job
    │   ├── OtherVersion       the tree was begun by another version              job
    │   ├── NoSuchSlot         the loop has no slot of this name                  job
    │   ├── UnreadableResponse a person's answer cannot be read                   job
    │   └── NotAwaited         no attempt waits for this answer                   job
    ├── AssetError             an agent, recipe or prompt file is wrong           job
    │   └── NoSuchAsset        there is no such file                              job
    ├── ModelError             a model call failed                                attempt
    │   ├── RateLimited        too many requests (retried, then raised)           attempt
    │   ├── ContextOverflow    the prompt does not fit                            attempt
    │   ├── Refused            the model declined                                 attempt
    │   ├── DeadlineExceeded   no answer in time                                  attempt
    │   ├── EndpointError      the endpoint failed or broke off                   attempt
    │   ├── CannotScore        no log-probabilities of a given text               attempt
    │   ├── NotSent            the run ended before the call was sent             attempt
    │   ├── Unreachable        nothing answers at the address                     job
    │   │   ├── NoSuchModel    the endpoint has no such model                     job
    │   │   └── ServerFailed   a managed server failed to start                   job
    │   ├── AuthFailed         the key is wrong or missing                        job
    │   ├── CreditExhausted    the account is empty                               job
    │   └── SameError          many calls in a row failed with the same error     job
    ├── OutputError            text that does not fit its schema                  attempt
    ├── ToolError              a tool failed                                      attempt
    ├── SandboxUnavailable     programs cannot be run safely here                 job
    ├── VerifierError          a verifier failed                                  attempt
    ├── BudgetSpent            no call is left, or no time: a stop reason         tree
    ├── SearchError            a search returned an invalid move                  tree
    ├── StopRuleError          a stop rule failed                                 tree
    ├── StoreError             trees cannot be written or read                    job
    │   ├── NoSuchTree         the store has no tree of this id                   job
    │   ├── NoSuchAttempt      the tree has no attempt or feedback of this id     job
    │   └── WriteConflict      another process writes the same tree               job
    ├── NotRecorded            a replay sends a request that was not stored       job
    └── ExportError            rows cannot be made                                job

The policy, in four sentences. Code that extends Critic Loop raises plain Python errors;
`boundary` turns them into typed errors. An error of scope *attempt* becomes a record and the loop goes
on; *tree* ends one tree; *job* ends the job, and nothing is recorded as failed for it.
A message says what was wrong and where; `hint` says what to do.
Secrets never enter a message. Users import these classes from `critic_loop.errors`.
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
    http_status: ClassVar[int] = 500
    """What a server may answer with where this error ends a request: a suggestion, used nowhere here."""

    @property
    def docs(self) -> str:
        """The place in the documentation that says what to do, as in `reference/errors.html#config`."""
        return f"reference/errors.html#{self.code}"

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Store what was wrong and where; `hint` says what to do about it."""
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
    http_status = 400


class AlreadyRunning(ConfigError):
    """The tree is being run already, by this loop.

    Wait until that run has ended, or give another `tree_id`. Nothing was sent.
    """

    code = "already-running"
    http_status = 409


class OtherTask(ConfigError):
    """The tree was begun with another task; the message names the fields that differ.

    Give the changed task another id, or none. Nothing was sent.
    """

    code = "other-task"
    http_status = 409


class OtherLoop(ConfigError):
    """The tree was begun with another loop; the message names the parts that differ.

    Resume it with the loop that began it, or start a new tree. Nothing was sent.
    """

    code = "other-loop"
    http_status = 409


class OtherVersion(ConfigError):
    """The tree was begun by a version of Critic Loop with other rules for hashes and fences.

    It can be shown, judged and exported, but not continued. Run its task again under another tree id.
    """

    code = "other-version"
    http_status = 409


class NoSuchSlot(ConfigError):
    """The loop has no slot of this name.

    The hint lists the slots that it has. Nothing was changed.
    """

    code = "no-such-slot"
    http_status = 404


class UnreadableResponse(ConfigError):
    """A person's answer about an attempt cannot be read, or is empty.

    Respond with true, false, a text, or fields of a Feedback, as in `{"verdict": "pass"}`. Nothing was written.
    """

    code = "unreadable-response"
    http_status = 422


class NotAwaited(ConfigError):
    """No attempt waits for this answer: it was given before, no person was asked, or another one was.

    `result.waiting` lists what waits, and for whom. To keep what was said, add it to the attempt as later
    feedback: `store.add_feedback(attempt_id, Feedback.user(score=..., text=...))`. Nothing was written.
    """

    code = "not-awaited"
    http_status = 409


class AssetError(CriticLoopError):
    """An agent, recipe or prompt file is wrong; the message names file, key and what was expected.

    Correct the file. `critic-loop recipes check` names every problem with its file and line. Nothing was sent.
    """

    code = "asset"


class NoSuchAsset(AssetError):
    """There is no agent, recipe or prompt of this name.

    The hint names those that are near. `critic-loop recipes list` shows all recipes.
    """

    code = "no-such-asset"
    http_status = 404


class ModelError(CriticLoopError):
    """A model call failed.

    The attempt or critique that needed the call is recorded as failed, and the loop goes on; three failures in
    a row end the tree. Look at `error` of its reply.
    """

    code = "model"
    http_status = 502
    scope = "attempt"


class RateLimited(ModelError):
    """The endpoint asks for fewer requests.

    The call was sent again, as often as `attempts` in the model's settings allows, with the pauses that the
    endpoint asked for. Lower `in_flight`.
    """

    code = "rate-limited"
    http_status = 429

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float | None = None) -> None:
        """Keep the pause that the endpoint asked for, in seconds; None where it gave none."""
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class ContextOverflow(ModelError):
    """The prompt does not fit into the model's context.

    Show the actor less (`memory = "last"`, fewer fields in `show`), or use a model with a longer context.
    """

    code = "context-overflow"
    http_status = 413


class Refused(ModelError):
    """The model declined to answer.

    The attempt has no answer; the next one may. If all are refused, the task or the prompt is the reason.
    """

    code = "refused"
    http_status = 422


class DeadlineExceeded(ModelError):
    """No answer came in time.

    Raise `timeout_s` in the model's settings, or ask for less with `max_tokens`.
    """

    code = "deadline"
    http_status = 504


class EndpointError(ModelError):
    """The endpoint returned an error or an invalid body, or the connection broke."""

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        status: int | None = None,
        transient: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        """Keep the HTTP status, whether a retry may help, and the pause that the endpoint asked for."""
        super().__init__(message, hint=hint)
        self.status = status
        self.transient = transient
        self.retry_after_s = retry_after_s


class CannotScore(ModelError):
    """The endpoint serves no log-probabilities of a given text."""


class NotSent(ModelError):
    """The call was still waiting to be sent when its run ended.

    It cost nothing. Run the same again to send it.
    """

    code = "not-sent"
    http_status = 503


class Unreachable(ModelError):
    """Nothing answers at the address, even after retries.

    Check that the server runs and that address and model name are right. Then run the same again: finished
    calls are not repeated.
    """

    code = "unreachable"
    http_status = 503
    scope = "job"


class NoSuchModel(Unreachable):
    """The endpoint answers, but has no model of this name or no such path."""


class ServerFailed(Unreachable):
    """A managed server failed to start; the message holds the end of its log."""


class AuthFailed(ModelError):
    """The key is wrong or missing.

    Set the variable that the message names. Then run the same again: finished calls are not repeated.
    """

    code = "auth"
    scope = "job"


class CreditExhausted(ModelError):
    """The account has no credit left.

    Add credit, or name another model. Then run the same again: finished calls are not repeated.
    """

    code = "credit"
    http_status = 503
    scope = "job"


class SameError(ModelError):
    """Many calls of a job failed in a row with the same error, in one tree or in several.

    The message ends with that error. Correct its cause, then run the same again: finished calls are not
    repeated. `same_error` sets after how many failures a job ends.
    """

    code = "same-error"
    scope = "job"


class OutputError(CriticLoopError):
    """Text does not fit its schema.

    From an actor it is feedback for the next revision, from a critic an abstention. If it happens often, ask
    for a simpler output, or allow more tokens.
    """

    code = "output"
    http_status = 502
    scope = "attempt"


class ToolError(CriticLoopError):
    """A tool failed.

    The actor gets the error as an observation and may try again. Correct the tool if it raises for arguments
    that fit its schema.
    """

    code = "tool"
    scope = "attempt"


class SandboxUnavailable(CriticLoopError):
    """Programs cannot be run safely on this machine.

    Nothing was run. Use a machine with a supported sandbox.
    """

    code = "sandbox"
    http_status = 503


class VerifierError(CriticLoopError):
    """A verifier failed; its verdict is an abstention.

    Correct the verifier: it raised, or returned something other than a Feedback, a bool or a number from 0 to
    1. No answer was failed by it.
    """

    code = "verifier"
    scope = "attempt"


class BudgetSpent(CriticLoopError):
    """The budget of calls or time is spent. This is a stop reason, not a failure.

    Only a role that asks a model sees this error (`View.ask`); it lets it pass. Raise `max_calls`, or allow
    more time, and run the tree again: it continues where it stopped.
    """

    code = "budget"
    scope = "tree"
    http_status = 503


class SearchError(CriticLoopError):
    """A search returned an invalid move: it names an unknown id, or waits while nothing is in flight.

    Correct the search; `critic_loop.testing.search_contract` finds most such mistakes.
    """

    code = "search"
    scope = "tree"


class StopRuleError(CriticLoopError):
    """A stop rule raised, or returned a value of the wrong type.

    Correct the rule that the message names. It returns a StopReason, a text or True to stop, and False or None
    to go on. What the tree holds is kept; run it again to go on.
    """

    code = "stop-rule"
    scope = "tree"


class StoreError(CriticLoopError):
    """Trees cannot be written or read.

    Check path, permissions and the space that is left. A file of a newer version needs a newer Critic Loop.
    """

    code = "store"


class NoSuchTree(StoreError):
    """The store has no tree of this id.

    Check the id, and that it is the right store: `critic-loop show STORE` lists the newest trees.
    """

    code = "no-such-tree"
    http_status = 404


class NoSuchAttempt(StoreError):
    """The tree has no attempt or feedback of this id.

    Ids name their tree: `t41c0.3` is the third attempt of tree `t41c0`. `critic-loop show STORE TREE` lists
    them.
    """

    code = "no-such-attempt"
    http_status = 404


class WriteConflict(StoreError):
    """Another process writes the same tree, or has written to it.

    Let only one process run a tree. To go on here, end the other one and run again.
    """

    code = "write-conflict"
    http_status = 409


class NotRecorded(CriticLoopError):
    """A replay sends a request that the stored run did not send.

    The message shows the difference. Replay with the recipe, prompts, task and seed of the stored run, or run
    with a model.
    """

    code = "replay"
    http_status = 409


class ExportError(CriticLoopError):
    """Rows cannot be made from these trees.

    The message counts what was left out, and why. Most often no tree holds two answers of different value.
    """

    code = "export"
    http_status = 422


def fingerprint(error: CriticLoopError) -> str:
    """Return the class and message of an error without numbers and ids, so that equal errors compare equal."""
    return f"{type(error).__name__} {_NUMBERS.sub('#', str(error))}"


@contextmanager
def boundary(kind: type[CriticLoopError], what: str) -> Generator[None]:
    """Raise errors of third-party code as `kind`; typed errors and cancellations pass unchanged.

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
