"""Converts JSONL to Parquet, with the feature types that `datasets` reads from a file's metadata.

Knows pyarrow. Nothing else in this package imports it, and this module is imported on first use.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from critic_loop.export.schema import Kind, Shapes

_BATCH = 1_000
"""Rows in a row group."""

_STRINGS = ("tree", "recipe", "recipe_digest", "task", "source", "license", "language", "decided_by")
_LISTS = ("attempts", "feedback", "models")

_PROVENANCE = pa.struct(
    [
        *((name, pa.string()) for name in _STRINGS),
        *((name, pa.list_(pa.string())) for name in _LISTS),
        ("schema_version", pa.int64()),
    ]
)
_TYPES: dict[Kind, Any] = {
    "chat": pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
    "chat_json": pa.list_(pa.json_()),
    "list_json": pa.list_(pa.json_()),
    "images": pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
    "provenance": _PROVENANCE,
    "text": pa.string(),
    "flag": pa.bool_(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "json": pa.json_(),
}


def _value(dtype: str) -> dict[str, Any]:
    return {"dtype": dtype, "_type": "Value"}


def _list(feature: dict[str, Any]) -> dict[str, Any]:
    return {"feature": feature, "_type": "List"}


_FEATURES: dict[Kind, dict[str, Any]] = {
    "chat": _list({"role": _value("string"), "content": _value("string")}),
    "chat_json": _list({"_type": "Json"}),
    "list_json": _list({"_type": "Json"}),
    "images": _list({"_type": "Image"}),
    "provenance": {
        **{name: _value("string") for name in _STRINGS},
        **{name: _list(_value("string")) for name in _LISTS},
        "schema_version": _value("int64"),
    },
    "text": _value("string"),
    "flag": _value("bool"),
    "integer": _value("int64"),
    "number": _value("float64"),
    "json": {"_type": "Json"},
}


def to_parquet(source: Path, target: Path, shapes: Shapes, *, images: Path) -> None:
    """Write the rows of the JSONL file `source` to `target`.

    Args:
        source: the JSONL file.
        target: the Parquet file.
        shapes: the kind of each column.
        images: the folder that paths in the column `images` are relative to; their bytes are embedded.
    """
    schema = _schema(shapes)
    with pq.ParquetWriter(target, schema, compression="zstd") as writer, source.open(encoding="utf-8") as lines:
        for batch in _batches(lines):
            columns = [
                _array(kind, [_cell(kind, row.get(name), images) for row in batch])
                for name, kind in shapes.kinds.items()
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _schema(shapes: Shapes) -> Any:
    features = {name: _FEATURES[kind] for name, kind in shapes.kinds.items()}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema([(name, _TYPES[kind]) for name, kind in shapes.kinds.items()], metadata=metadata)


def _batches(lines: Iterator[str] | Any) -> Iterator[list[dict[str, Any]]]:
    while batch := [json.loads(line) for line in islice(lines, _BATCH)]:
        yield batch


def _array(kind: Kind, cells: list[Any]) -> Any:
    if kind in ("chat_json", "list_json"):  # pyarrow cannot build lists of extension types from Python values
        return pa.array(cells, type=pa.list_(pa.string())).cast(_TYPES[kind])
    return pa.array(cells, type=_TYPES[kind])


def _cell(kind: Kind, value: Any, images: Path) -> Any:
    if value is None:
        return [] if kind == "images" else None
    if kind in ("chat_json", "list_json"):
        return [json.dumps(item, ensure_ascii=False) for item in value]
    if kind == "images":
        return [{"path": Path(i["path"]).name, "bytes": (images / i["path"]).read_bytes()} for i in value]
    return json.dumps(value, ensure_ascii=False) if kind == "json" else value
