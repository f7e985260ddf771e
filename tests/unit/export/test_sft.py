import pytest

from critic_loop.core.messages import Message, ToolCall, ToolResult, assistant, user
from critic_loop.core.records import Task
from critic_loop.export import Row, Sft, Skip
from tests.unit.export.grow import FAIL, PASS, SYSTEM, add, call, choose, judge, tree_of


def rows(exporter, *trees):
    return [item for item in exporter.rows(trees) if isinstance(item, Row)]


def reasons(exporter, *trees):
    return [item.reason for item in exporter.rows(trees) if isinstance(item, Skip)]


def answers(exporter, *trees):
    return [row.columns["messages"][-1]["content"] for row in rows(exporter, *trees)]


def verified_tree():
    tree = tree_of("6", "7", "7!", "8")
    for number, verdict in ((1, FAIL), (2, PASS), (3, PASS)):
        judge(tree, number, verdict)
    return choose(tree, 2)


def test_the_chosen_verified_attempt_is_learnt_with_what_it_was_shown():
    (row,) = rows(Sft(), verified_tree())
    assert row.columns == {
        "messages": [
            {"role": "system", "content": "Answer briefly."},
            {"role": "user", "content": "What is 3 + 4?"},
            {"role": "assistant", "content": "7"},
        ],
        "provenance": {
            "tree": "t",
            "attempts": ["t.2"],
            "feedback": ["t.f2"],
            "recipe": "r",
            "recipe_digest": "d",
            "task": "sum",
            "source": "hand",
            "license": "CC0-1.0",
            "language": "",
            "models": ["m1"],
            "decided_by": "",
            "schema_version": 2,
        },
        "weight": 1.0,
    }


def test_which_attempts_are_learnt_is_a_setting():
    assert answers(Sft(only="passed"), verified_tree()) == ["7", "7!"]
    assert answers(Sft(only="all"), verified_tree()) == ["6", "7", "7!", "8"]


def test_the_rows_of_a_tree_weigh_one_together_however_many_they_are():
    for only, expected in (("chosen", [1.0]), ("passed", [0.5] * 2), ("all", [0.25] * 4)):
        assert [row.columns["weight"] for row in rows(Sft(only=only), verified_tree())] == expected


def test_a_request_that_does_not_hold_the_earlier_turns_is_taken_as_it_is():
    tree = tree_of()
    earlier = assistant("a draft that was summarised", sampled=True)
    add(tree, [earlier, assistant("7", sampled=True)], request=(user("Summary of a draft. What is it?"),))
    judge(tree, 1, PASS)
    (row,) = rows(Sft(), choose(tree, 1))
    assert [turn["content"] for turn in row.columns["messages"]] == ["Summary of a draft. What is it?", "7"]


@pytest.mark.parametrize(
    ("verdict", "verified", "count"),
    [(PASS, True, 1), (None, True, 0), (FAIL, True, 0), (PASS, False, 1), (None, False, 1), (FAIL, False, 0)],
)
def test_a_chosen_attempt_that_failed_is_never_learnt(verdict, verified, count):
    tree = tree_of("7")
    if verdict is not None:
        judge(tree, 1, verdict)
    choose(tree, 1)
    assert len(rows(Sft(verified=verified), tree)) == count
    assert len(reasons(Sft(verified=verified), tree)) == 1 - count


def test_a_tree_without_a_choice_gives_nothing():
    assert list(Sft().rows([tree_of("7")])) == []
    assert list(Sft().rows([choose(tree_of("7"), 0)])) == []


def test_the_conversation_is_the_one_that_was_sent():
    tree = tree_of()
    shown = (SYSTEM, *tree.task.prompt, assistant("6", sampled=True), user("Wrong."))
    add(tree, "7", request=shown)
    judge(tree, 1, PASS)
    choose(tree, 1)
    contents = [turn["content"] for turn in rows(Sft(), tree)[0].columns["messages"]]
    assert contents == ["Answer briefly.", "What is 3 + 4?", "6", "Wrong.", "7"]
    (row,) = rows(Sft(columns="prompt_completion"), tree)
    assert [turn["content"] for turn in row.columns["prompt"]] == contents[:-1]
    assert [turn["content"] for turn in row.columns["completion"]] == ["7"]
    (row,) = rows(Sft(context="task"), tree)
    assert [turn["content"] for turn in row.columns["messages"]] == ["What is 3 + 4?", "7"]


def test_tool_turns_stand_once_between_prompt_and_answer():
    asked = assistant(ToolCall(id="1", name="add", arguments={"a": 3}), sampled=True)
    heard = Message(role="tool", parts=(ToolResult.of("7", call_id="1", name="add"),))
    tree = tree_of()
    add(tree, [asked, heard, assistant("It is 7.", sampled=True)])
    judge(tree, 1, PASS)
    (row,) = rows(Sft(columns="prompt_completion"), choose(tree, 1))
    assert [turn["role"] for turn in row.columns["prompt"]] == ["system", "user"]
    assert [turn["role"] for turn in row.columns["completion"]] == ["assistant", "tool", "assistant"]
    assert row.notes


def test_an_attempt_without_calls_follows_the_tasks_prompt():
    tree = tree_of()
    add(tree, "7", calls=False)
    judge(tree, 1, PASS)
    (row,) = rows(Sft(), choose(tree, 1))
    assert [turn["role"] for turn in row.columns["messages"]] == ["user", "assistant"]
    assert row.columns["provenance"]["models"] == []


def test_only_what_a_model_wrote_is_learnt_unless_asked_otherwise():
    tree = tree_of()
    add(tree, [assistant("7")], calls=False)
    choose(tree, 1)
    judge(tree, 1, PASS)
    assert reasons(Sft(), tree) == ["not written by a model"]
    assert answers(Sft(sampled=False), tree) == ["7"]


def test_incomplete_attempts_and_repetitions_are_left_out():
    tree = tree_of("7", "7")
    add(tree, "8", status="failed")
    assert answers(Sft(only="all"), tree) == ["7"]
    assert sorted(reasons(Sft(only="all"), tree)) == [
        "not complete",
        "the same text as another attempt of its tree",
    ]


def test_calls_that_did_not_write_the_answer_are_passed_over():
    other = tree_of()
    call(other, ("t.1",), (user("Another question"),), assistant("6", sampled=True))
    add(other, "7", calls=False, given_calls=("t.c1", "t.c9"))
    judge(other, 1, PASS)
    (row,) = rows(Sft(), choose(other, 1))
    assert [turn["content"] for turn in row.columns["messages"]] == ["What is 3 + 4?", "7"]


GRADE = {"source": "grader", "author": "hidden-tests"}


@pytest.mark.parametrize(
    ("said", "learnt"),
    [
        ([(FAIL, {}), (PASS, GRADE)], True),
        ([(PASS, {}), (FAIL, GRADE)], False),
        ([(None, {"source": "user", "score": 1.0})], True),
        ([(PASS, {}), (None, {"source": "user", "score": 0.0})], False),
        ([(PASS, {"source": "critic"})], False),
        ([(PASS, {"source": "tool"})], False),
    ],
)
def test_what_is_learnt_is_what_is_known_to_be_right(said, learnt):
    tree = tree_of("7")
    ids = [judge(tree, 1, verdict, **fields) for verdict, fields in said]
    found = rows(Sft(), choose(tree, 1))
    assert len(found) == learnt
    for row in found:
        assert row.columns["provenance"]["feedback"] == ids, "grades are among what it was chosen by"


def test_an_answer_equal_to_the_reference_is_learnt_without_a_verifier():
    task = Task(prompt=(user("What is 3 + 4?"),), reference="7")
    assert len(rows(Sft(only="passed"), tree_of("7", "8", task=task))) == 1
