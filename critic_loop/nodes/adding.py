"""How a role's feedback is recorded: with its author and subject, or as an abstention if it is invalid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from critic_loop.core.abstain import abstention
from critic_loop.core.errors import (
    VerifierError,
)
from critic_loop.core.records import (
    Feedback,
    Source,
    Subject,
)
from critic_loop.core.tree import Tree
from critic_loop.nodes.context import RunContext


async def add(
    run: RunContext,
    each: Sequence[Feedback],
    subject: Subject,
    source: Source,
    author: str,
    *,
    requested_because: str = "always",
) -> None:
    """Record feedback, several at once, each about `subject` or the place in it that its own subject names.

    Ids such as `#first` name one of them in `supersedes` and `rests_on` of those that follow. Feedback must be
    about `subject` and may not supersede what is in the tree. If one of `each` breaks this, or has fields of
    the wrong type, an abstention with the reason is recorded in place of all.
    """
    policy = {"requested_because": requested_because, "request_probability": 1.0}
    try:
        addressed = _addressed(run.tree, each, subject, source, author, policy)
    except VerifierError as error:
        kept = {name: getattr(each[0], name) for name in ("advisory", "calls", "saw_reference")}
        refused = abstention(error).model_copy(update=kept)
        addressed = _addressed(run.tree, [refused], subject, source, author, policy)
    await run.journal.record(*addressed)


def _addressed(
    tree: Tree, each: Sequence[Feedback], subject: Subject, source: Source, author: str, policy: dict[str, Any]
) -> list[Feedback]:
    """Return feedback with ids, subject and author.

    Raises:
        VerifierError: one of them is invalid.
    """
    first, ids = len(tree.feedback) + 1, dict[str, str]()
    addressed: list[Feedback] = []
    for k, feedback in enumerate(each):
        where = f"{source} {author!r}"
        about = feedback.subject or subject
        if about.attempts != subject.attempts:
            raise VerifierError(
                f"{where} returned feedback about {about.attempts or about.feedback}, not {subject.attempts}."
            )
        replaced = feedback.supersedes and ids.get(feedback.supersedes, feedback.supersedes)
        if replaced and replaced not in ids.values():
            raise VerifierError(f"{where} supersedes {replaced!r}, which it did not return before this one.")
        rests_on = tuple(ids.get(i, i) for i in feedback.rests_on)
        if unknown := [i for i in rests_on if i not in tree.feedback and i not in ids.values()]:
            raise VerifierError(f"{where} rests on unknown feedback {unknown[0]!r}.")
        feedback_id = f"{tree.id}.f{first + k}"
        update = {
            "id": feedback_id, "subject": about, "source": source, "author": author,
            "supersedes": replaced, "rests_on": rests_on, **({} if feedback.requested_because else policy),
        }  # fmt: skip
        if feedback.id.startswith("#"):
            ids[feedback.id] = feedback_id
        try:
            addressed.append(Feedback.model_validate(dict(feedback.model_copy(update=update))))
        except ValidationError as error:
            raise VerifierError(f"{where} returned feedback with wrong fields: {error}") from error
    return addressed
