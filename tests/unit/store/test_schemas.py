"""The published schemas are current, and all that we write fits them."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
from pydantic import TypeAdapter

from critic_loop.core.messages import File
from critic_loop.core.records import Record
from critic_loop.store.schemas import schemas, text_of, write
from critic_loop.testing.trees import ALL

FOLDER = Path(__file__).parents[3] / "docs" / "schemas"
RECORD: TypeAdapter[Record] = TypeAdapter(Record)


@cache
def validator(name: str) -> Any:
    schema = orjson.loads((FOLDER / f"{name}.json").read_bytes())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_committed_files_are_current() -> None:
    """If this fails: `python -m critic_loop.store.schemas`, and think about `SCHEMA_VERSION`."""
    made = {f"{name}.json": text_of(schema) for name, schema in schemas().items()}
    assert {path.name for path in FOLDER.glob("*.json")} == set(made)
    stale = [name for name, text in made.items() if (FOLDER / name).read_bytes() != text]
    assert stale == []


@pytest.mark.parametrize("name", ALL)
def test_fixture_trees_fit_the_schemas(name: str) -> None:
    for record in ALL[name]().log:
        for short in (True, False):
            text = record.model_dump_json(exclude_defaults=short)
            written = {"type": record.type, **json.loads(text)}
            validator("record").validate(written)
            validator(record.type).validate(json.loads(text))
            assert RECORD.validate_json(json.dumps(written)) == _without_bytes(record)


def _without_bytes(record: Record) -> Record:
    return RECORD.validate_python(record.model_dump())


def test_schemas_refuse_what_is_no_record() -> None:
    for wrong in ({}, {"type": "ask"}, {"type": "ask", "attempt": "t.1", "surprise": 1}, {"type": "else"}):
        with pytest.raises(jsonschema.ValidationError):
            validator("record").validate(wrong)


def test_bytes_are_never_written() -> None:
    part = File.of(b"secret", "text/plain")
    assert "data" not in json.loads(part.model_dump_json())
    assert "data" not in validator("message").schema["$defs"]["File"]["properties"]


def test_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "critic_loop.store.schemas", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=FOLDER.parents[1])
    assert len(done.stdout.splitlines()) == len(schemas())
    assert (tmp_path / "out" / "ask.json").read_bytes() == (FOLDER / "ask.json").read_bytes()
    written = write(schemas(), tmp_path / "two")
    assert {path.name for path in written} == {path.name for path in FOLDER.glob("*.json")}
