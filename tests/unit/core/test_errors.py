"""Errors: codes and scopes that stay, messages that say what to do, one boundary."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from critic_loop import errors as public
from critic_loop.core import errors
from critic_loop.core.errors import ConfigError, CriticLoopError, ModelError, RateLimited, ToolError, boundary

PUBLIC = {
    "ConfigError": ("config", "job"),
    "AlreadyRunning": ("already-running", "job"),
    "OtherTask": ("other-task", "job"),
    "OtherLoop": ("other-loop", "job"),
    "OtherVersion": ("other-version", "job"),
    "NoSuchSlot": ("no-such-slot", "job"),
    "UnreadableResponse": ("unreadable-response", "job"),
    "NotAwaited": ("not-awaited", "job"),
    "AssetError": ("asset", "job"),
    "NoSuchAsset": ("no-such-asset", "job"),
    "ModelError": ("model", "attempt"),
    "EndpointError": ("model", "attempt"),
    "CannotScore": ("model", "attempt"),
    "NotSent": ("not-sent", "attempt"),
    "NoSuchModel": ("unreachable", "job"),
    "ServerFailed": ("unreachable", "job"),
    "RateLimited": ("rate-limited", "attempt"),
    "ContextOverflow": ("context-overflow", "attempt"),
    "Refused": ("refused", "attempt"),
    "DeadlineExceeded": ("deadline", "attempt"),
    "Unreachable": ("unreachable", "job"),
    "AuthFailed": ("auth", "job"),
    "CreditExhausted": ("credit", "job"),
    "SameError": ("same-error", "job"),
    "OutputError": ("output", "attempt"),
    "ToolError": ("tool", "attempt"),
    "SandboxUnavailable": ("sandbox", "job"),
    "VerifierError": ("verifier", "attempt"),
    "BudgetSpent": ("budget", "tree"),
    "SearchError": ("search", "tree"),
    "StopRuleError": ("stop-rule", "tree"),
    "NotRecorded": ("replay", "job"),
    "StoreError": ("store", "job"),
    "NoSuchTree": ("no-such-tree", "job"),
    "NoSuchAttempt": ("no-such-attempt", "job"),
    "WriteConflict": ("write-conflict", "job"),
    "ExportError": ("export", "job"),
}


def kinds(of: type[CriticLoopError] = CriticLoopError) -> Iterator[type[CriticLoopError]]:
    for kind in of.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield kind
        yield from kinds(kind)


def test_codes_and_scopes_are_kept() -> None:
    assert {kind.__name__: (kind.code, kind.scope) for kind in kinds()} == PUBLIC
    assert (CriticLoopError.code, CriticLoopError.scope) == ("error", "job")


def test_the_drawing_shows_every_error() -> None:
    drawn = {
        words[0]: words[-1]
        for line in (errors.__doc__ or "").splitlines()
        if "──" in line
        for words in [line.partition("── ")[2].split()]
    }
    assert drawn == {name: scope for name, (_, scope) in PUBLIC.items()}


def test_the_public_module_has_every_class_that_a_user_may_catch() -> None:
    assert public.__all__ == sorted({"CriticLoopError", *PUBLIC})
    assert all(getattr(public, name) is getattr(errors, name) for name in public.__all__)
    assert all(name in (public.__doc__ or "") for name in public.__all__)


def test_every_status_is_one_of_an_error_and_conflicts_are_told_apart() -> None:
    assert all(400 <= kind.http_status < 600 for kind in kinds())
    conflicts = (public.AlreadyRunning, public.OtherTask, public.OtherLoop, public.WriteConflict)
    assert {kind.http_status for kind in conflicts} == {409}
    assert len({kind.code for kind in conflicts}) == len(conflicts)
    missing = (public.NoSuchTree, public.NoSuchAttempt, public.NoSuchSlot, public.NoSuchAsset)
    assert {kind.http_status for kind in missing} == {404}


def test_a_key_of_the_server_is_not_the_clients_fault() -> None:
    """A client that got 401 would take its own key for wrong."""
    assert public.AuthFailed.http_status == 502


def test_messages_say_what_to_do() -> None:
    error = ConfigError("No model.", hint="Name one.")
    assert (str(error), error.message, error.hint) == ("No model. Name one.", "No model.", "Name one.")
    assert str(ConfigError("No model.")) == "No model."


def test_rate_limits_may_carry_a_pause() -> None:
    assert RateLimited("slow").retry_after_s is None
    limited = RateLimited("slow", hint="Wait.", retry_after_s=2.5)
    assert (limited.retry_after_s, str(limited)) == (2.5, "slow Wait.")


def test_the_boundary_types_what_escapes() -> None:
    says = "running tool 'x': ZeroDivisionError: division by zero"
    with pytest.raises(ToolError, match=says) as caught, boundary(ToolError, "running tool 'x'"):
        _ = 1 / 0
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_the_boundary_lets_typed_errors_and_cancellation_pass() -> None:
    for error in (ModelError("typed"), asyncio.CancelledError(), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, boundary(ToolError, "x"):
            raise error
        assert caught.value is error
    with boundary(ToolError, "nothing happens"):
        pass
