from typing import Literal

import pytest
from pydantic import BaseModel

from critic_loop.core.errors import ConfigError
from critic_loop.core.messages import assistant
from critic_loop.outputs import JsonOutput, Output, TextOutput, output_of


class Answer(BaseModel):
    x: int


MINE = JsonOutput[list[int]](list[int], name="mine")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (None, "text"),
        (str, "text"),
        ("text", "text"),
        ("json", "json"),
        ("boxed", "boxed"),
        ("code:python", "code:python"),
        ("choice:yes|no", "choice:yes|no"),
        (Literal["yes", "no"], "choice:yes|no"),
        (Answer, "Answer"),
        (list[int], "list"),
        (Literal[1, 2], "Literal"),
        ("critic_loop.outputs.plain:BoxedOutput", "boxed"),
        ("critic_loop.core.records:Span", "Span"),
        (MINE, "mine"),
    ],
)
def test_outputs_are_named_in_many_ways(given, name):
    output = output_of(given)
    assert isinstance(output, Output)
    assert output.name == name


def test_an_output_is_taken_as_it_is():
    assert output_of(MINE) is MINE
    assert output_of(TextOutput()) == TextOutput()


def test_a_model_class_parses_into_itself():
    assert output_of(Answer).parse(assistant('{"x": 3}')).value == Answer(x=3)


@pytest.mark.parametrize("given", ["code", "choice", "text:x", "nope", "no.such:thing"])
def test_unknown_names_are_wrong_settings(given):
    with pytest.raises(ConfigError):
        output_of(given)
