"""What a role is shown: the task, an attempt and what came before, masked as the recipe says.

Knows masks. Does not know prompts (`nodes.prompted`) or where a question goes (`nodes.calls`).
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

from critic_loop.core.messages import Message, Reasoning
from critic_loop.core.protocols import Move
from critic_loop.core.records import Attempt, AttemptKind, ContextSpec, Feedback, Task, Verdict
from critic_loop.core.tree import Tree
from critic_loop.evidence import EVIDENCE

T = TypeVar("T")

_ALWAYS = {"type", "id", "subject", "source", "author", "advisory", "parse", "calls", "trees", "supersedes"}
_BY_FIELD = {
    "verdict": {"verdict", "confidence"},
    "score": {"score"},
    "text": {"text", "reason", "data"},
    "steps": {"steps", "first_error"},
    "spans": {"spans", "boxes"},
    "rubric": {"rubric"},
    "suggestion": {"suggestion"},
}


async def _nobody(prompt: str, _output: Any) -> Any:
    raise TypeError(f"this view cannot ask a model ({prompt[:40]!r}): only critics may.")


class _Path:
    """A field that may be given as a function: it is called when the path is first looked at, if ever."""

    @overload
    def __get__(self, view: None, owner: object = None) -> tuple[Attempt, ...]: ...
    @overload
    def __get__(self, view: object, owner: object = None) -> tuple[Attempt, ...]: ...
    def __get__(self, view: object | None, owner: object = None) -> tuple[Attempt, ...]:
        if view is None:  # the dataclass asks for the default
            return ()
        given: tuple[Attempt, ...] | Callable[[], tuple[Attempt, ...]] = vars(view)["path"]
        path = given() if callable(given) else given
        vars(view)["path"] = path
        return path

    def __set__(self, view: object, path: tuple[Attempt, ...] | Callable[[], tuple[Attempt, ...]]) -> None:
        vars(view)["path"] = path


@dataclass(frozen=True, kw_only=True)
class View(Generic[T]):
    """What an actor, critic or verifier written as a function receives."""

    task: Task
    """For verifiers whole; for actors and critics without reference and checks, unless shown."""
    answer: T | None = None
    """The typed answer under judgement; None for actors, and for critics whose `sees` lacks `answer`."""
    attempt: Attempt | None = None
    """The attempt under judgement, for such critics without messages and answer; for actors None."""
    path: _Path = _Path()
    """Earlier attempts that are shown, oldest first; to critics those that `sees` calls `rejected`."""
    feedback: tuple[Feedback, ...] = ()
    """What is shown with masked fields at their defaults: to actors the feedback on the path, to critics
    the evidence on the attempt, to verifiers nothing (they stand beside each other)."""
    also_shown: tuple[Attempt, ...] = ()
    """To actors: attempts off the path that the search shows, siblings or rejected ones. To verifiers of pairs:
    the tests."""
    kind: AttemptKind = "answer"
    """To actors: what is asked for. A `step` is returned as a `Unfinished`, unless it ends the answer."""
    seed: int = 0
    """Derived from the attempt's place: use it for anything random, so that a resumed run agrees."""
    _ask: Callable[[str, Any], Awaitable[Any]] = _nobody

    async def ask(self, prompt: str, *, output: Any = None) -> Any:
        """Ask the model behind the role's slot; the call is recorded, budgeted and resumable.

        Args:
            prompt: the user message.
            output: a type or output name to parse the reply into; None returns its text.

        Raises:
            OutputError: the reply does not fit `output`.
            ModelError: the call failed.
        """
        return await self._ask(prompt, output)


def masked_task(task: Task, fields: Iterable[str]) -> Task:
    """Return `task` without its checks, and without its reference unless `fields` shows it."""
    hidden: dict[str, Any] = {"checks": {}}
    if "reference" not in fields:
        hidden["reference"] = None
    return task.model_copy(update=hidden)


def masked_feedback(feedback: Iterable[Feedback], fields: Iterable[str]) -> tuple[Feedback, ...]:
    """Return the feedback that `fields` shows, each with only the fields that are shown.

    Verifiers' feedback is shown only with the field `verifier`; a shadow critic's never, an
    abstention only if it has a text.
    """
    shown = set(fields)
    keep = _ALWAYS.union(*(names for field, names in _BY_FIELD.items() if field in shown))
    return tuple(
        Feedback.model_construct(**{name: value for name, value in f if name in keep})
        for f in feedback
        if not f.advisory
        and (f.text or f.verdict is not Verdict.ABSTAIN)
        and (f.source not in EVIDENCE or "verifier" in shown)
    )


def masked_messages(messages: Iterable[Message], fields: Iterable[str]) -> tuple[Message, ...]:
    """Return an attempt's messages as later prompts repeat them: reasoning only if `fields` shows it."""
    if "reasoning" in fields:
        return tuple(messages)
    return tuple(
        m.model_copy(update={"parts": tuple(p for p in m.parts if not isinstance(p, Reasoning))})
        if any(isinstance(p, Reasoning) for p in m.parts)
        else m
        for m in messages
    )


def masked_attempts(attempts: Iterable[Attempt], fields: Iterable[str]) -> tuple[Attempt, ...]:
    """Return attempts with their messages masked."""
    return tuple(_masked(a, masked_messages(a.messages, fields)) for a in attempts)


def _masked(attempt: Attempt, messages: tuple[Message, ...]) -> Attempt:
    if all(ours is theirs for ours, theirs in zip(messages, attempt.messages, strict=True)):
        return attempt
    return attempt.model_copy(update={"messages": messages})


def judged_attempt(attempt: Attempt, fields: Iterable[str]) -> Attempt:
    """Return the attempt under judgement as a critic is shown it: only with `answer` what was said."""
    if "answer" in fields:
        return masked_attempts((attempt,), fields)[0]
    return attempt.model_copy(update={"messages": (), "answer": None})


def evidence_on(tree: Tree, attempt_id: str, fields: Iterable[str]) -> tuple[Feedback, ...]:
    """Return what a critic is shown of the feedback on its attempt: evidence alone.

    Critics speak at the same time: were they shown each other's words, a question would depend on who
    was quicker, and a resumed loop would ask it again.
    """
    return masked_feedback((f for f in tree.judgements(attempt_id) if f.source in EVIDENCE), fields)


def earlier(tree: Tree, attempt_id: str) -> tuple[Attempt, ...]:
    """Return the answers on the path before this attempt, oldest first."""
    before = (tree[i] for i in tree.path(attempt_id)[:-1] if i in tree)
    return tuple(a for a in before if not a.unfinished)


def argued(tree: Tree, mine: str, theirs: str) -> tuple[Feedback, ...]:
    """Return what was argued for `mine` against `theirs`, a feedback for each round, oldest first."""
    pair = (mine, theirs)
    found = (f for f in tree.about(mine) if f.subject is not None and f.subject.attempts == pair)
    return tuple(f for f in found if f.source == "critic" and not f.advisory)


def shown_to_actor(tree: Tree, move: Move, memory: str, fields: tuple[str, ...]) -> ContextSpec:
    """Return what the actor will be shown for a move, to be frozen in its ask.

    Of steps and thoughts on the path the last is shown, whose text holds those before it.
    """
    path = (*_path_shown(tree, move.parents, memory), *move.parents[1:])
    attempts = tuple(dict.fromkeys(i for i in path if _is_shown(tree, i)))
    beside = tuple(i for i in dict.fromkeys(move.shows) if i not in attempts and _is_shown(tree, i))
    feedback = tuple(f.id for i in (*attempts, *beside) for f in tree.judgements(i))
    return ContextSpec(attempts=attempts, feedback=feedback, fields=fields, also_shown=beside)


def _path_shown(tree: Tree, parents: tuple[str, ...], memory: str) -> list[str]:
    if not parents:
        return []
    if memory == "last":
        return list(itertools.islice(_upwards(tree, parents[0]), 1))
    path = tree.path(parents[0])
    return [i for i in path if i == path[-1] or not (i in tree and tree[i].unfinished)]


def _is_shown(tree: Tree, attempt_id: str) -> bool:
    return attempt_id in tree and tree[attempt_id].status != "failed"


def _upwards(tree: Tree, attempt_id: str) -> Iterator[str]:
    """Iterate over the attempts that may be shown, from this one to its root."""
    path: tuple[str, ...] = (attempt_id,)
    while path:
        if _is_shown(tree, path[0]):
            yield path[0]
        path = tree.asks[path[0]].parents[:1]
