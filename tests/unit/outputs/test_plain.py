import pytest

from critic_loop.core.errors import OutputError
from critic_loop.core.messages import Message, Reasoning, Text, assistant
from critic_loop.outputs import BoxedOutput, ChoiceOutput, CodeOutput, TextOutput


def test_text_is_the_whole_text_and_nothing_else():
    message = Message(role="assistant", parts=(Reasoning(text="hm"), Text(text=" 42\n")))
    assert TextOutput().parse(message).value == " 42\n"


def test_a_reply_without_text_is_not_an_empty_answer():
    parsed = TextOutput().parse(assistant(" \n"))
    assert (parsed.value, parsed.status, parsed.found) == (None, "unparsed", False)
    assert parsed.reason


def test_stored_text_that_is_no_text_is_refused():
    assert TextOutput().load("a") == "a"
    with pytest.raises(OutputError, match="dict"):
        TextOutput().load({"a": 1})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"so \boxed{42}.", "42"),
        (r"\boxed{1} no, \boxed{2}", "2"),
        (r"\boxed{\dfrac{1}{2}}", r"\frac{1}{2}"),
        (r"$\boxed{ \left\{ 1, 2 \right\} }$", r"\{ 1, 2 \}"),
        (r"\boxed{7} and then \boxed{8", "7"),
        (r"\fbox{9}", None),
        (r"\boxed{}", None),
        ("no box", None),
        (r"<think>\boxed{1}", None),
        (r"<think>\boxed{1}</think>\boxed{2}", "2"),
    ],
)
def test_the_last_closed_box_is_the_answer(text, value):
    parsed = BoxedOutput().parse(assistant(text))
    assert parsed.value == value
    assert parsed.found == (value is not None)
    assert bool(parsed.reason) == (value is None)


@pytest.mark.parametrize(
    ("text", "value", "status"),
    [
        ("```python\nx = 1\n```", "x = 1", "ok"),
        ("a\n```py\nx = 1\n```\nb\n```python3\nx = 2\n\ny = 3\n```\nc", "x = 2\n\ny = 3", "ok"),
        ("```python\nx = 1\n```\nrun it:\n```bash\npython a.py\n```", "x = 1", "ok"),
        ("````python\nx = '''\n```\n'''\n````", "x = '''\n```\n'''", "ok"),
        ("~~~python\nx = 1\n~~~", "x = 1", "ok"),
        ("```\nx = 1\n```", "x = 1", "repaired"),
        ("```python\nx = 1", "x = 1", "repaired"),
        ("x = 1\n", "x = 1", "ok"),
        ("```js\nlet x = 1\n```", None, "unparsed"),
        ("```python\n\n```", None, "unparsed"),
        ("", None, "unparsed"),
    ],
)
def test_the_last_block_of_the_language_is_the_program(text, value, status):
    parsed = CodeOutput("python").parse(assistant(text))
    assert (parsed.value, parsed.status) == (value, status)


def test_the_reason_names_the_block_that_is_missing():
    reason = CodeOutput("python").parse(assistant("```js\n1\n```")).reason
    assert "```python" in reason
    assert "js" in reason


@pytest.mark.parametrize(
    ("text", "value", "status"),
    [
        ("yes", "yes", "ok"),
        ("**Yes.**", "yes", "ok"),
        ("I weighed it.\nAnswer: no", "no", "repaired"),
        ("因此\n答案：no", "no", "repaired"),
        ("yes and no", None, "unparsed"),
        ("", None, "unparsed"),
    ],
)
def test_a_choice_is_one_of_its_options(text, value, status):
    parsed = ChoiceOutput(("yes", "no")).parse(assistant(text))
    assert (parsed.value, parsed.status) == (value, status)


def test_a_choice_says_what_was_expected():
    assert "yes, no" in ChoiceOutput(("yes", "no")).parse(assistant("?")).reason


@pytest.mark.parametrize("output", [TextOutput(), BoxedOutput(), CodeOutput("c"), ChoiceOutput(("a",))])
def test_text_outputs_bind_no_endpoint(output):
    assert output.schema is None
    assert output.describe() == ""
    assert output.dump("a") == "a"
