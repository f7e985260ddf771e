import pytest

from critic_loop.outputs.jsontext import find, find_last
from tests.work import lines_run


def values(text):
    return [(c.value, c.repaired) for c in find(text).candidates]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (' {"a": 1}\n', {"a": 1}),
        ("42", 42),
        ("null", None),
        ('Here it is:\n```json\n{"a": 1}\n```\nDone.', {"a": 1}),
        ("```\n[1, 2]\n```", [1, 2]),
        ('```json\n{"a": "```"}\n```', {"a": "```"}),
        ('So the answer is {"a": {"b": "}"}}, I think.', {"a": {"b": "}"}}),
        ('A set {1} of 5" pipes [2), then {"a": 1}', {"a": 1}),
        ('```json\n{"a": 1}', {"a": 1}),
    ],
)
def test_json_is_found_where_models_put_it(text, value):
    assert values(text)[0] == (value, False)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2,],}', {"a": [1, 2]}),
        ('{"a": True, "b": None, "c": "None, True,}"}', {"a": True, "b": None, "c": "None, True,}"}),
        (r'{"a": "\(x\) and \alpha and \" and \\"}', {"a": r"\(x\) and \alpha and " + '" and \\'}),
        ('{"code": "line one\nline two"}', {"code": "line one\nline two"}),
        ('so {"a": 1,} it is', {"a": 1}),
    ],
)
def test_small_damage_is_repaired_and_said_so(text, value):
    assert values(text)[0] == (value, True)


def test_the_last_of_several_comes_first():
    assert [v for v, _ in values('first {"a": 1}, then {"a": 2}')] == [{"a": 2}, {"a": 1}]


def test_fenced_blocks_come_before_prose():
    assert next(v for v, _ in values('```json\n{"a": 1}\n```\nsee [2]')) == {"a": 1}


@pytest.mark.parametrize("text", ['{"a": [{"b": 1}, {"b": 2', '{"a": "unfinished'])
def test_cut_off_json_is_neither_completed_nor_searched(text):
    found = find(text)
    assert found.cut_off
    assert found.candidates == ()


@pytest.mark.parametrize("text", ["NaN", "[1e999]", '["\\ud800"]', "1" * 5000, "[" * 100_000, "prose", ""])
def test_what_records_cannot_hold_is_not_found(text):
    assert find(text).candidates == ()


def test_only_the_last_object_counts_where_texts_quote():
    assert find_last('It says {"v": 1}. I say {"v": 2}.').candidates[0].value == {"v": 2}
    assert find_last('It says {"v": 1}. I say {"v": "he said "no""}.').candidates == ()
    assert find_last('It says {"v": 1}. I say {"v": 2, "text": "').candidates == ()


@pytest.mark.parametrize("piece", ['{"', '"\\"', "{", "[1,", '{"a":[', "\\", "```\n", '{"a": 1}', "[ ] "])
def test_degenerate_text_takes_linear_time(piece):
    few, many = (lines_run(find, piece * count) for count in (500, 2_000))
    assert many < 1.2 * 4 * few
