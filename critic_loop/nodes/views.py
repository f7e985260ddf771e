"""What each role is shown: the task, an attempt and what came before, masked as the recipe says.

Knows trees and masks. Does not know how a role uses its view, nor prompts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from critic_loop.core.messages import Message, Reasoning
from critic_loop.core.protocols import Move
from critic_loop.core.records import Ask, Attempt, ContextSpec, Feedback, Sampling, Task, Verdict
from critic_loop.core.roles import Actor, Critic, Debater, Judge, Verifier, seed_of
from critic_loop.core.tools import spec_of
from critic_loop.core.tree import Tree
from critic_loop.core.view import NoModel, View
from critic_loop.evidence import EVIDENCE
from critic_loop.nodes.access import SlotAccess
from critic_loop.nodes.context import RunContext
from critic_loop.nodes.open_parts import PartName

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


# -- views -------------------------------------------------------------------------------------


def actor_views(
    run: RunContext, actor: Actor, asks: Sequence[Ask], so_far: tuple[Message, ...] = ()
) -> list[View[Any]]:
    """Return the view of an actor for each ask, as its context spec says."""
    return [_actor_view(run, actor, ask, so_far) for ask in asks]


def _actor_view(run: RunContext, actor: Actor, ask: Ask, so_far: tuple[Message, ...]) -> View[Any]:
    tree, shown = run.tree, ask.context
    slot = getattr(actor, "slot", "actor")
    return View(
        task=masked_task(tree.task, shown.fields),
        path=lambda: masked_attempts((tree[i] for i in shown.attempts), shown.fields),
        feedback=masked_feedback((tree.feedback[i] for i in shown.feedback), shown.fields),
        also_shown=masked_attempts((tree[i] for i in shown.also_shown), shown.fields),
        kind=ask.kind,
        so_far=so_far,
        sampling=ask.sampling,
        tools=tuple(spec_of(tool) for tool in run.tools.values()),
        output=run.output,
        seed=ask.seed,
        fence_key=tree.head.key,
        models=SlotAccess(run.caller, (ask.attempt,), actor.name, slot, ask.seed, ask.sampling),
        scratch_folder=_scratch(run, "actor", actor.name),
    )


def critic_view(run: RunContext, critic: Critic, attempt_id: str) -> View[Any]:
    """Return a critic's view of an attempt: what its `sees` names, and of the feedback only evidence.

    Critics run at the same time. If they were shown each other's opinions, a request would depend on which
    critic was faster, and a resumed loop would send it again.
    """
    tree, sees = run.tree, critic.sees
    attempt, seed = tree[attempt_id], seed_of(tree.asks[attempt_id].seed, critic.name)
    return View(
        task=masked_task(tree.task, sees),
        answer=_loaded(run, attempt) if "answer" in sees else None,
        attempt=judged_attempt(attempt, sees),
        path=(lambda: masked_attempts(earlier(tree, attempt_id), sees)) if "rejected" in sees else (),
        feedback=evidence_on(tree, attempt_id, sees),
        output=run.output,
        seed=seed,
        fence_key=tree.head.key,
        models=SlotAccess(run.caller, (attempt_id,), critic.name, critic.slot, seed, Sampling()),
        scratch_folder=_scratch(run, "critic", critic.name),
    )


def verifier_view(run: RunContext, verifier: Verifier, attempt_id: str, tests: str | None = None) -> View[Any]:
    """Return a verifier's view of an attempt, and of the tests to run on it."""
    tree = run.tree
    attempt = tree[attempt_id]
    return View(
        task=tree.task.model_copy(update={"held_out": {}}) if tree.task.held_out else tree.task,
        answer=_loaded(run, attempt),
        attempt=attempt,
        path=partial(earlier, tree, attempt_id),
        also_shown=() if tests is None else (tree[tests],),
        output=run.output,
        seed=seed_of(tree.asks[attempt_id].seed, verifier.name),
        models=NoModel(f"verifier {verifier.name!r}"),
        scratch_folder=_scratch(run, "verifier", verifier.name),
    )


def pair_view(run: RunContext, role: Judge | Debater, first: str, second: str) -> View[Any]:
    """Return a judge's or debater's view of two attempts, and of the arguments about them so far."""
    tree = run.tree
    seed = seed_of(tree.asks[first].seed, tree.asks[second].seed, role.name)
    return View(
        task=masked_task(tree.task, ()),
        pair=(tree[first], tree[second]),
        feedback=(*argued(tree, first, second), *argued(tree, second, first)),
        output=run.output,
        seed=seed,
        fence_key=tree.head.key,
        models=SlotAccess(run.caller, (first, second), role.name, role.slot, seed, Sampling()),
        scratch_folder=_scratch(run, "judge", role.name),
    )


def _scratch(run: RunContext, kind: str, name: str) -> Callable[[], Path]:
    return partial(run.open_parts.scratch, PartName(kind, name), "tree", run.tree.id)


def _loaded(run: RunContext, attempt: Attempt) -> Any:
    return None if attempt.answer is None else run.output.load(attempt.answer)


# -- masks -------------------------------------------------------------------------------------


def masked_task(task: Task, fields: Iterable[str]) -> Task:
    """Return `task` without checks and held-out data; with its reference only if `fields` shows it."""
    hidden: dict[str, Any] = {"checks": {}, "held_out": {}}
    if "reference" not in fields:
        hidden["reference"] = None
    return task.model_copy(update=hidden)


def masked_feedback(feedback: Iterable[Feedback], fields: Iterable[str]) -> tuple[Feedback, ...]:
    """Return the feedback that `fields` shows, each with only the fields that are shown.

    Verifiers' feedback is shown only with the field `verifier`, advisory feedback never, an
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
    """Return an attempt's messages for later prompts: with reasoning only if `fields` shows it."""
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
    """Return the judged attempt as a critic is shown it: messages and answer only with `answer`."""
    if "answer" in fields:
        return masked_attempts((attempt,), fields)[0]
    return attempt.model_copy(update={"messages": (), "answer": None})


def evidence_on(tree: Tree, attempt_id: str, fields: Iterable[str]) -> tuple[Feedback, ...]:
    """Return the feedback about an attempt that a critic is shown: only evidence (see `critic_view`)."""
    return masked_feedback((f for f in tree.judgements(attempt_id) if f.source in EVIDENCE), fields)


def earlier(tree: Tree, attempt_id: str) -> tuple[Attempt, ...]:
    """Return the answers on the path before this attempt, oldest first."""
    before = (tree[i] for i in tree.path(attempt_id)[:-1] if i in tree)
    return tuple(a for a in before if not a.unfinished)


def argued(tree: Tree, mine: str, theirs: str) -> tuple[Feedback, ...]:
    """Return the arguments for `mine` against `theirs`, a feedback for each round, oldest first."""
    pair = (mine, theirs)
    found = (f for f in tree.about(mine) if f.subject is not None and f.subject.attempts == pair)
    return tuple(f for f in found if f.source == "critic" and not f.advisory)


def shown_to_actor(tree: Tree, move: Move, memory: str, fields: tuple[str, ...]) -> ContextSpec:
    """Return what the actor will be shown for a move; it is stored in the ask.

    Of steps and thoughts on the path only the last is shown: its text contains those before it.
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
