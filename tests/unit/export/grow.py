"""Small trees for the tests of exporters."""

from critic_loop.core.messages import Message, assistant, system, user
from critic_loop.core.records import (
    Ask,
    Attempt,
    Call,
    Choice,
    Feedback,
    Head,
    Outcome,
    Place,
    Reply,
    Subject,
    Task,
    Verdict,
)
from critic_loop.core.tree import Tree

PASS, FAIL = Verdict.PASS, Verdict.FAIL
SYSTEM = system("Answer briefly.")


def tree_of(*texts, task=None, name="t"):
    """Return a tree with an attempt for each text, written to the system prompt and the task."""
    tree = Tree(
        Head(
            tree=name,
            task=task or Task(prompt=(user("What is 3 + 4?"),), id="sum", source="hand", license="CC0-1.0"),
            recipe="r",
            recipe_digest="d",
            key="secret",
            created_at=0.0,
        )
    )
    for text in texts:
        add(tree, text)
    return tree


def add(tree, written, *, calls=True, request=None, given_calls=(), **fields):
    """Append an attempt that wrote `written` (text or messages); return its id."""
    messages = (assistant(written, sampled=True),) if isinstance(written, str) else tuple(written)
    id_ = tree.next_attempt_id()
    tree.append(Ask(attempt=id_))
    asked = (
        call(tree, (id_,), request or (SYSTEM, *tree.task.prompt, *messages[:-1]), messages[-1])
        if calls
        else given_calls
    )
    given = {"answer": messages[-1].text, "calls": asked, "status": "complete"} | fields
    tree.append(Attempt(id=id_, messages=messages, **given))
    return id_


def call(tree, subject, request: tuple[Message, ...], *answers: Message, binding="m1"):
    """Append a call and its reply; return its id in a tuple."""
    id_ = f"{tree.id}.c{len(tree.calls) + 1}"
    place = Place(subject=subject, agent="a")
    tree.append(Call(id=id_, place=place, digest="", request=request, binding=binding, sent_at=0.0))
    choices = tuple(Choice(message=answer) for answer in answers)
    tree.append(Reply(call=id_, status="ok", choices=choices, ended_at=0.0))
    return (id_,)


def judge(tree, attempts, verdict=None, score=None, *, asked=False, made=(), **fields):
    """Append feedback on attempts (numbers from 1); return its id."""
    numbers = (attempts,) if isinstance(attempts, int) else attempts
    ids = tuple(f"{tree.id}.{number}" for number in numbers)
    text = fields.get("text", "Verdict: ...")
    if asked:
        made = call(tree, ids, (system("You judge."), user("Is it right?")), assistant(text, sampled=True))
    given = {"source": "verifier", "author": "v", "subject": Subject.of(*ids)} | fields
    id_ = tree.next_feedback_id()
    tree.append(Feedback(id=id_, verdict=verdict, score=score, calls=made, **given))
    return id_


def choose(tree, number):
    """Append an outcome that chose attempt `number`; return the tree."""
    tree.append(Outcome(chosen=f"{tree.id}.{number}" if number else None))
    return tree
