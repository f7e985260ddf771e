"""What all tests share: asyncio alone, no keys, nothing beyond loopback, the same examples every time."""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from critic_loop.core.messages import assistant
from critic_loop.core.records import Ask, Attempt, ContextSpec, Feedback, Head, Subject, Task
from critic_loop.core.tree import Tree

settings.register_profile(
    "critic_loop",
    derandomize=True,
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("critic_loop")

_SECRET = re.compile(
    r"(KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS|_BASE_URL|_PROXY)$|^(OPENAI|ANTHROPIC|CRITIC_LOOP)_", re.IGNORECASE
)


def _is_near(address: Any) -> bool:
    if not isinstance(address, tuple):
        return True  # a unix socket's path
    host = str(address[0]).partition("%")[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No keys or keyring, no connection beyond this machine, no hub, a cache folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if _SECRET.search(name)]:
            patch.delenv(name)
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
            patch.setenv(name, "1")
        patch.setitem(sys.modules, "keyring", None)  # as if it were not installed
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
        yield


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command line that ran in this process leaves no levels, handlers or context to later tests."""
    yield
    logger = logging.getLogger("critic_loop")
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def _guarded(connect: Any) -> Any:
    def guarded(self: socket.socket, address: Any) -> Any:
        if not _is_near(address):
            raise PermissionError(f"a test tried to reach {address}: only loopback is allowed")
        return connect(self, address)

    return guarded


class Grown:
    """A tree that a test writes by hand."""

    def __init__(
        self, task: str | Task = "What is 6 * 7?", *, tree: str = "t", key: str = "secret", **head: Any
    ) -> None:
        self.tree = Tree(
            Head(
                tree=tree,
                task=Task.of(task),
                recipe="by hand",
                recipe_digest="",
                key=key,
                created_at=0.0,
                **head,
            )
        )

    def ask(self, *parents: str, **fields: Any) -> str:
        """Ask for an attempt that stays open."""
        attempt = self.tree.next_attempt_id()
        fields.setdefault(
            "context",
            ContextSpec(attempts=parents, feedback=self._told(parents), fields=fields.pop("show", ())),
        )
        self.tree.append(Ask(attempt=attempt, parents=parents, **fields))
        return attempt

    def _told(self, parents: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f.id for p in parents for f in self.tree.judgements(p))

    def settle(self, attempt: str, answer: Any = None, *, text: str | None = None, **fields: Any) -> str:
        """Make an attempt of an ask."""
        ask = self.tree.asks[attempt]
        said = text if text is not None else answer if isinstance(answer, str) else None
        messages = (assistant(said, sampled=True),) if said is not None else ()
        fields = {"messages": messages, "kind": ask.kind, "replaces": ask.replaces, **fields}
        self.tree.append(Attempt(id=attempt, parents=ask.parents, answer=answer, **fields))
        return attempt

    def attempt(self, *parents: str, answer: Any = None, text: str | None = None, **fields: Any) -> str:
        """Ask for an attempt and settle it."""
        asked = {k: fields[k] for k in ("kind", "replaces", "seed", "context", "show") if k in fields}
        rest = {k: v for k, v in fields.items() if k not in ("seed", "context", "show")}
        return self.settle(self.ask(*parents, **asked), answer, text=text, **rest)

    def say(self, *subject: str, **fields: Any) -> str:
        """Add feedback on one attempt, or on several in order; return its id."""
        given = {"source": "critic", "author": "critic", "subject": Subject.of(*subject), **fields}
        is_grade = given["source"] == "grader"
        next_id = self.tree.next_grade_id() if is_grade else self.tree.next_feedback_id()
        feedback = Feedback(id=next_id, **given)
        self.tree.append(feedback)
        return feedback.id

    def verified(self, attempt: str, verdict: str, **fields: Any) -> str:
        """Add a verifier's verdict."""
        return self.say(attempt, **{"source": "verifier", "author": "answer", "verdict": verdict, **fields})


@pytest.fixture
def grown() -> Grown:
    return Grown()
