"""Whatever the tree: rows hold only its text, pairs agree with what attempts are worth, and nothing raises."""

from hypothesis import given, settings
from hypothesis import strategies as st

from critic_loop.core.messages import Message, Reasoning, ToolCall, ToolResult, assistant, system, user
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
from critic_loop.evidence import value_of
from critic_loop.export import CritiqueSft, Preference, Row, Sft
from critic_loop.testing.export_contract import texts_in, texts_of

TEXT = st.text(max_size=12)
SHARE = st.sampled_from([0.0, 0.25, 0.5, 1.0])
VERDICT = st.sampled_from([None, *Verdict])
ARGUMENTS = st.none() | st.dictionaries(TEXT, TEXT | st.integers() | st.none(), max_size=2)


@st.composite
def written(draw):
    """Return what an actor may add: perhaps thoughts, perhaps tool turns, an answer."""
    messages = []
    if draw(st.booleans()):
        call = ToolCall(id="1", name=draw(st.sampled_from(["f", "g"])), arguments=draw(ARGUMENTS))
        messages.append(assistant(draw(TEXT), call, sampled=True))
        result = ToolResult.of(draw(TEXT), call_id="1", name=call.name)
        messages.append(Message(role="tool", parts=(result,)))
    thought = [Reasoning(text=draw(TEXT))] if draw(st.booleans()) else []
    messages.append(assistant(*thought, draw(TEXT), sampled=draw(st.booleans())))
    return tuple(messages)


@st.composite
def trees(draw):
    """Return a tree with attempts, calls, feedback of all sources, and perhaps an outcome."""
    task = Task(prompt=(user(draw(TEXT)),))
    tree = Tree(Head(tree="t", task=task, recipe="r", recipe_digest="d", key="the-key", created_at=0.0))
    ids = [draw_attempt(draw, tree) for _ in range(draw(st.integers(0, 4)))]
    for _ in range(draw(st.integers(0, 6)) if ids else 0):
        draw_feedback(draw, tree, ids)
    if draw(st.booleans()):
        tree.append(Outcome(chosen=draw(st.sampled_from([None, *ids]))))
    return tree


def draw_attempt(draw, tree):
    parents = (draw(st.sampled_from(list(tree.attempts))),) if tree.attempts and draw(st.booleans()) else ()
    id_ = tree.next_attempt_id()
    tree.append(Ask(attempt=id_, parents=parents))
    messages = draw(written())
    shown = (system(draw(TEXT)), *tree.task.prompt)
    calls = (
        (draw_call(draw, tree, (id_,), (*shown, *messages[:-1]), messages[-1]),) if draw(st.booleans()) else ()
    )
    status = draw(st.sampled_from(["complete", "complete", "complete", "failed", "parked"]))
    answer = draw(st.none() | TEXT)
    tree.append(Attempt(id=id_, parents=parents, messages=messages, answer=answer, status=status, calls=calls))
    return id_


def draw_call(draw, tree, subject, request, answer):
    id_ = f"t.c{len(tree.calls) + 1}"
    place = Place(subject=subject, agent="a")
    tree.append(Call(id=id_, place=place, digest="", request=request, binding="m", sent_at=0.0))
    if draw(st.booleans()):
        tree.append(Reply(call=id_, status="ok", choices=(Choice(message=answer),), ended_at=0.0))
    return id_


def draw_feedback(draw, tree, ids):
    subject = draw(st.lists(st.sampled_from(ids), min_size=1, max_size=2, unique=True))
    verdict = draw(VERDICT)
    preference = (draw(SHARE), draw(SHARE)) if len(subject) == 2 and draw(st.booleans()) else None
    text = draw(TEXT)
    calls = ()
    if draw(st.booleans()):
        calls = (draw_call(draw, tree, tuple(subject), (user(draw(TEXT)),), assistant(text, sampled=True)),)
    tree.append(
        Feedback(
            id=tree.next_feedback_id(),
            subject=Subject.of(*subject),
            source=draw(st.sampled_from(["verifier", "critic", "judge", "user"])),
            author=draw(st.sampled_from(["x", "y"])),
            verdict=verdict,
            score=draw(st.none() | SHARE),
            preference=preference,
            text=text,
            advisory=draw(st.booleans()),
            calls=calls,
        )
    )


EXPORTERS = [
    Sft(),
    Sft(only="all", sampled=False, thinking=True, columns="prompt_completion"),
    Sft(only="passed", context="task"),
    Preference(pairs=100, both_orders=False, sampled=False),
    Preference(prompt="shown"),
    CritiqueSft(),
    CritiqueSft(agrees="ignored", columns="prompt_completion"),
]


@given(tree=trees())
@settings(max_examples=60, deadline=None)
def test_no_exporter_invents_text(tree):
    known = texts_of(tree)
    for exporter in EXPORTERS:
        for row in exporter.rows([tree]):
            if isinstance(row, Row):
                assert [text for text in texts_in(row) if text not in known] == []


@given(tree=trees())
@settings(max_examples=60, deadline=None)
def test_a_pairs_order_is_never_against_the_value(tree):
    for row in Preference(pairs=100, by=("evidence", "opinion"), both_orders=False, sampled=False).rows([tree]):
        if isinstance(row, Row):
            chosen, rejected = (value_of(tree, i) for i in row.columns["provenance"]["attempts"])
            assert chosen > rejected
            assert chosen.score is not None


@given(tree=trees())
@settings(max_examples=40, deadline=None)
def test_weights_of_a_tree_sum_to_one(tree):
    for exporter in EXPORTERS:
        weights = [row.columns["weight"] for row in exporter.rows([tree]) if isinstance(row, Row)]
        assert not weights or abs(sum(weights) - 1.0) < 1e-9
