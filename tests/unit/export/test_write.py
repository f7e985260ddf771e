import hashlib
import json
import subprocess
import sys

import pytest

from critic_loop.core.errors import ConfigError, ExportError
from critic_loop.core.messages import Image, user
from critic_loop.core.records import Task
from critic_loop.export import Manifest, Row, Sft, export
from critic_loop.export.write import split_of
from critic_loop.testing.trees import ALL
from tests.unit.export.grow import FAIL, PASS, choose, judge, tree_of


def good(name, text="What is 3 + 4?", *parts):
    task = Task(prompt=(user(text, *parts),), id=f"task-{name}", license="CC0-1.0")
    tree = tree_of("6", "7", name=name, task=task)
    judge(tree, 1, FAIL)
    judge(tree, 2, PASS)
    return choose(tree, 2)


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def tree_bytes(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_rows_manifest_and_card_are_written(tmp_path):
    trees = [good("a"), good("b"), tree_of("8", name="c")]
    manifest = export(trees, "sft", tmp_path / "out")
    assert set(tree_bytes(tmp_path / "out")) == {"README.md", "data/train.jsonl", "manifest.json"}
    data = tmp_path / "out" / "data" / "train.jsonl"
    assert lines(data) == [row.columns for row in Sft().rows(trees) if isinstance(row, Row)]
    assert manifest == Manifest.model_validate_json((tmp_path / "out" / "manifest.json").read_bytes())
    assert (manifest.export, manifest.trees, manifest.rows, manifest.total) == ("sft", 3, {"train": 2}, 2)
    assert manifest.settings["only"] == "chosen"
    assert manifest.licenses == {"CC0-1.0": 2}
    info = manifest.files["data/train.jsonl"]
    assert info.sha256 == hashlib.sha256(data.read_bytes()).hexdigest()
    assert (info.rows, info.bytes) == (2, data.stat().st_size)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\n")
    assert 'license: "CC0-1.0"' in card
    assert "path: data/train.jsonl" in card
    assert "| `messages` | the conversation |" in card


def test_the_same_trees_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        export([make() for make in ALL.values()], "preference", tmp_path / name, format="both")
    assert tree_bytes(tmp_path / "one") == tree_bytes(tmp_path / "two")


def test_what_was_left_out_is_counted(tmp_path):
    trees = [good("a"), choose(tree_of("8", name="b"), 1), choose(tree_of("9", name="c"), 1)]
    manifest = export(trees, "sft", tmp_path)
    assert manifest.skipped == {"chosen, but not known to be right": 2}
    assert "| chosen, but not known to be right | 2 |" in (tmp_path / "README.md").read_text()


def test_an_empty_result_says_why(tmp_path):
    with pytest.raises(ExportError, match=r"no tree has two attempts of different value.*better: 1") as error:
        export([tree_of("6", "7")], "preference", tmp_path)
    assert "allow_empty" in str(error.value)
    with pytest.raises(ExportError, match="there are no trees"):
        export([], "sft", tmp_path)
    assert tree_bytes(tmp_path) == {}
    manifest = export([tree_of("7")], "sft", tmp_path, format="both", allow_empty=True)
    assert manifest.total == 0
    assert (tmp_path / "data" / "train.jsonl").read_bytes() == b""


def test_a_failure_leaves_an_earlier_export_as_it_was(tmp_path):
    export([good("a")], "sft", tmp_path)
    before = tree_bytes(tmp_path)

    def breaking():
        yield good("b")
        raise OSError("the store went away")

    with pytest.raises(OSError, match="went away"):
        export(breaking(), "sft", tmp_path)
    assert tree_bytes(tmp_path) == before


def test_a_later_export_replaces_an_earlier_one(tmp_path):
    export([good("a")], "sft", tmp_path, split="validation")
    (tmp_path / "mine.txt").write_text("kept")
    export([good("a")], "preference", tmp_path, format="parquet")
    assert set(tree_bytes(tmp_path)) == {"README.md", "manifest.json", "mine.txt", "data/train.parquet"}


def test_a_manifest_that_names_files_elsewhere_removes_none(tmp_path):
    outside, inside = tmp_path / "mine.txt", tmp_path / "out"
    outside.write_text("kept")
    export([good("a")], "sft", inside)
    manifest = Manifest.model_validate_json((inside / "manifest.json").read_bytes())
    named = dict.fromkeys(["../mine.txt", str(outside)], manifest.files["data/train.jsonl"])
    (inside / "manifest.json").write_text(manifest.model_copy(update={"files": named}).model_dump_json())
    export([good("a")], "sft", inside)
    assert outside.read_text() == "kept"


def test_tasks_stay_together_in_a_split_and_shares_hold(tmp_path):
    shares = {"train": 0.75, "test": 0.25}
    counts = [split_of(f"task-{number}", shares) for number in range(2000)]
    assert 0.7 < counts.count("train") / 2000 < 0.8
    trees = [good(str(number)) for number in range(20)]
    manifest = export(trees, "sft", tmp_path, split=shares)
    assert sum(manifest.rows.values()) == 20
    for name in shares:
        tasks = [row["provenance"]["task"] for row in lines(tmp_path / "data" / f"{name}.jsonl")]
        assert len(tasks) == manifest.rows[name] > 0
        assert {split_of(task, shares) for task in tasks} == {name}
    assert split_of("x", {"all": 0.1}) == "all"


@pytest.mark.parametrize("split", ["", "../up", {}, {"train": -1.0, "test": 2.0}, {"train": 0.0}])
def test_splits_that_make_no_sense_are_refused(tmp_path, split):
    with pytest.raises(ConfigError, match="split="):
        export([good("a")], "sft", tmp_path, split=split)


def test_an_unknown_file_format_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="format='csv'"):
        export([good("a")], "sft", tmp_path, format="csv")


def test_pictures_are_files_beside_jsonl_and_bytes_in_parquet(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    picture = Image.of(b"not really a png", "image/png")
    trees = [good("a", "What is this?", picture), good("b")]
    export(trees, "sft", tmp_path, format="both")
    (row, plain) = lines(tmp_path / "data" / "train.jsonl")
    assert (tmp_path / row["images"][0]["path"]).read_bytes() == b"not really a png"
    assert "images" not in plain
    table = pq.read_table(tmp_path / "data" / "train.parquet")
    name = f"{picture.sha256}.png"
    assert table["images"].to_pylist() == [[{"bytes": b"not really a png", "path": name}], []]
    export(trees, "sft", tmp_path / "parquet", format="parquet")
    assert set(tree_bytes(tmp_path / "parquet")) == {"README.md", "manifest.json", "data/train.parquet"}


def test_a_picture_nobody_loaded_is_a_reason_not_a_broken_row(tmp_path):
    picture = Image(sha256="0" * 64, media_type="image/png")
    manifest = export([good("a", "See", picture), good("b")], "sft", tmp_path)
    assert manifest.skipped == {"the bytes of an image are missing": 1}


class Odd:
    """An exporter of columns of all kinds."""

    name = "odd"
    when_empty = "nothing"

    def rows(self, trees):
        for tree in trees:
            number = int(tree.id == "b")
            columns = {
                "prompt": [{"role": "user", "content": "hi"}],
                "label": bool(number),
                "count": number or 0.5,
                "steps": number,
                "title": "t",
                "mixed": {"a": number} if number else "text",
                "provenance": {"tree": tree.id},
            }
            if number:
                columns["prompt"] = [
                    {"role": "user", "content": "hi", "tool_calls": [{"arguments": {"x": None}}]}
                ]
            yield Row(columns=columns, notes=("odd",))


def test_parquet_keeps_plain_columns_native_and_the_rest_as_json(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    manifest = export([good("a"), good("b")], Odd(), tmp_path, format="both")
    assert manifest.notes == {"odd": 2}
    table = pq.read_table(tmp_path / "data" / "train.parquet")
    assert {
        name: str(table.schema.field(name).type) for name in ("label", "count", "steps", "title", "mixed")
    } == {
        "label": "bool",
        "count": "double",
        "steps": "int64",
        "title": "string",
        "mixed": "extension<arrow.json>",
    }
    assert [json.loads(cell) for cell in table["mixed"].to_pylist()] == ["text", {"a": 1}]
    prompts = [[json.loads(turn) for turn in prompt] for prompt in table["prompt"].to_pylist()]
    assert prompts == [row["prompt"] for row in lines(tmp_path / "data" / "train.jsonl")]
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["prompt"] == {"feature": {"_type": "Json"}, "_type": "List"}
    assert features["label"] == {"dtype": "bool", "_type": "Value"}


def test_parquet_of_plain_conversations_needs_no_json(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    export([good("a")], "preference", tmp_path, format="both")
    table = pq.read_table(tmp_path / "data" / "train.parquet")
    assert table.to_pylist() == lines(tmp_path / "data" / "train.jsonl")


def test_exports_work_without_pyarrow_until_it_is_asked_for(tmp_path):
    code = (
        "import sys\n"
        "sys.modules['pyarrow'] = None\n"
        "import importlib.util\n"
        "from critic_loop.core.errors import ConfigError\n"
        "from critic_loop.export import export\n"
        "from critic_loop.testing.trees import refine_tree\n"
        f"print(export([refine_tree()], 'sft', {str(tmp_path)!r}).total)\n"
        "try:\n"
        f"    export([refine_tree()], 'sft', {str(tmp_path)!r}, format='parquet')\n"
        "except ConfigError as error:\n"
        "    print('critic-loop[export]' in str(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "True"]


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"critic-loop\[export\]"):
        export([good("a")], "sft", tmp_path, format="parquet")
    assert tree_bytes(tmp_path) == {}


def test_importing_the_package_imports_no_pyarrow():
    code = "import sys, critic_loop.export; print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
