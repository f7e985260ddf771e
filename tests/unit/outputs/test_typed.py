import json
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, field_validator

from critic_loop.core.errors import ConfigError, OutputError
from critic_loop.core.messages import assistant
from critic_loop.outputs import JsonOutput, output_of


class Edit(BaseModel):
    """A change to a file."""

    path: str
    line: int = Field(ge=1, description="counted from 1")
    kind: Literal["add", "drop"] = "add"
    on: date | None = Field(default=None, alias="when")


class Patch(BaseModel):
    edits: list[Edit]
    title: str = ""


PATCH = JsonOutput[Patch](Patch)


def test_json_becomes_a_typed_value_and_comes_back_from_its_dump():
    parsed = PATCH.parse(assistant('{"edits": [{"path": "a.py", "line": 3, "when": "2026-01-02"}]}'))
    assert parsed.status == "ok"
    assert parsed.value == Patch(edits=[Edit(path="a.py", line=3, when=date(2026, 1, 2))])
    dumped = PATCH.dump(parsed.value)
    assert dumped == json.loads(json.dumps(dumped))
    assert PATCH.load(dumped) == parsed.value


def test_the_first_value_that_fits_is_taken():
    text = 'Like {"edits": 1}. So {"edits": []}, as [3] says: {"other": 1}'
    assert PATCH.parse(assistant(text)).value == Patch(edits=[])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('{"edits": [{"line": 0}]}', ["edits.0.path: required, but missing", "edits.0.line: expected", "1"]),
        ('{"edits": [{"path": "a", "line": 1, "kind": "move"}]}', ["edits.0.kind: expected 'add' or 'drop'"]),
        ("I cannot do that.", ["no JSON found", "a JSON object with edits"]),
        ('{"edits": [{"path": "a"', ["cut off", "edits"]),
        ("", ["no JSON found"]),
    ],
)
def test_the_reason_names_the_field_and_what_was_expected(text, parts):
    parsed = PATCH.parse(assistant(text))
    assert (parsed.value, parsed.status) == (None, "unparsed")
    for part in parts:
        assert part in parsed.reason
    assert len(parsed.reason) < 700


def test_a_long_list_of_errors_stays_short():
    edits = [{"path": 1, "line": "x" * 10_000, "key" * 1000: 1}] * 100
    reason = PATCH.parse(assistant(json.dumps({"edits": edits}))).reason
    assert len(reason) < 700
    assert "and 197 more" in reason


def test_the_schema_for_endpoints_and_templates_is_the_types_own():
    assert PATCH.schema is not None
    assert PATCH.schema.name == "Patch"
    assert json.loads(PATCH.describe()) == PATCH.schema.schema
    edit = PATCH.schema.schema["$defs"]["Edit"]
    assert edit["properties"]["line"] == {"type": "integer", "minimum": 1, "description": "counted from 1"}
    assert "title" in PATCH.schema.schema["properties"]  # a field of this name, not a generated title


def test_any_json_has_no_schema_but_is_still_json():
    output = output_of("json")
    assert output.schema is None
    assert output.describe() == "{}"
    assert output.parse(assistant("so: [1, {}]")).value == [1, {}]
    assert not output.parse(assistant("[" * 100_000 + "]" * 100_000)).found


def test_it_shows_as_its_type():
    assert repr(PATCH) == "JsonOutput(Patch)"


def test_null_can_be_a_value():
    parsed = JsonOutput[Any](int | None).parse(assistant("null"))
    assert parsed.value is None
    assert parsed.found


@dataclass
class Point:
    x: int
    y: int


def test_dataclasses_and_constructs_work_as_models_do():
    assert JsonOutput[Point](Point).parse(assistant('{"x": 1, "y": 2}')).value == Point(1, 2)
    assert JsonOutput[Any](tuple[int, ...]).parse(assistant("[1, 2,]")).value == (1, 2)


def test_a_stored_answer_of_another_schema_is_refused():
    with pytest.raises(OutputError, match=r"Patch.*edits"):
        PATCH.load({"edit": []})


class Broken(BaseModel):
    x: int

    @field_validator("x")
    @classmethod
    def _breaks(cls, value: int) -> int:
        raise KeyError(value)


def test_a_broken_validator_of_the_user_is_named():
    with pytest.raises(OutputError, match="validating Broken: KeyError"):
        JsonOutput[Broken](Broken).parse(assistant('{"x": 1}'))


def test_what_cannot_be_validated_is_a_wrong_setting():
    class Plain:
        pass

    with pytest.raises(ConfigError, match="Plain"):
        JsonOutput[Plain](Plain)
