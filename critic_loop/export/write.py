"""Writes rows to files: JSONL, Parquet, images, a manifest and a dataset card.

Knows files. All are written to a staging folder and moved to their places when the export is complete, the
manifest last. The same trees in the same order give the same bytes. Does not know which rows there are.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Literal, get_args

from pydantic import JsonValue

from critic_loop.core.errors import ConfigError, ExportError
from critic_loop.core.messages import Frozen
from critic_loop.core.records import SCHEMA_VERSION, digest_of
from critic_loop.core.tree import Tree
from critic_loop.core.version import VERSION
from critic_loop.export.base import Exporter, Row, Skip
from critic_loop.export.card import card
from critic_loop.export.chat import image_path
from critic_loop.export.formats import exporter_of, settings_of
from critic_loop.export.schema import Shapes

FileFormat = Literal["jsonl", "parquet", "both"]


class FileInfo(Frozen):
    """A file of an export."""

    rows: int
    bytes: int
    sha256: str


class Manifest(Frozen):
    """The content of an export and the counts of what was skipped: `manifest.json`."""

    export: str
    """The target format's name."""
    settings: dict[str, JsonValue]
    trees: int
    rows: dict[str, int]
    """The number of rows by split."""
    skipped: dict[str, int]
    """The number of skipped items by reason."""
    notes: dict[str, int]
    """The number of rows by note."""
    licenses: dict[str, int]
    """The number of rows by their task's license; "" where none is given."""
    files: dict[str, FileInfo]
    """The data files by path inside the export; images are not listed."""
    digest: str
    """Hash of settings and files."""
    schema_version: int = SCHEMA_VERSION
    critic_loop: str = VERSION

    @property
    def total(self) -> int:
        """The number of rows."""
        return sum(self.rows.values())


def export(
    trees: Iterable[Tree],
    to: str | Exporter,
    out_dir: str | Path,
    *,
    format: FileFormat = "jsonl",  # noqa: A002  # the word that everyone uses
    split: str | Mapping[str, float] = "train",
    settings: Mapping[str, Any] | None = None,
    allow_empty: bool = False,
) -> Manifest:
    """Write the rows of `trees` to `out_dir` and return the manifest.

    Args:
        trees: read once, one at a time.
        to: a format's name (`sft`, `preference`, `critique_sft`, an entry point, `package.module:name`) or
            an exporter.
        out_dir: the folder for `data/SPLIT.jsonl`, `data/SPLIT.parquet`, `images/`, `manifest.json` and
            `README.md`. Data files of an earlier export that its manifest lists are deleted.
        format: Parquet needs the extra `critic-loop[export]`.
        split: a split's name, or a table of names and shares. All rows of a task are in the same split.
        settings: the format's fields, where `to` is a name.
        allow_empty: write an export without rows instead of raising.

    Raises:
        ConfigError: a name, a setting or a split is invalid, or pyarrow is missing.
        ExportError: there are no rows; the message gives the reasons.
    """
    exporter = exporter_of(to, settings)
    shares = _shares(split)
    if format not in get_args(FileFormat):
        raise ConfigError(
            f"unknown format={format!r}.", hint=f"Write one of {', '.join(get_args(FileFormat))}."
        )
    if format != "jsonl":
        _require_pyarrow()
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=out) as staging:
        staged = _Staged(Path(staging), shares)
        with ExitStack() as stack:
            staged.open(stack)
            staged.add(exporter, trees)
        if not staged.total and not allow_empty:
            raise _no_rows(exporter, staged)
        manifest = staged.finish(exporter, format)
        _move(Path(staging), out)
    return manifest


def _shares(split: str | Mapping[str, float]) -> dict[str, float]:
    shares = {split: 1.0} if isinstance(split, str) else dict(split)
    names_fit = all(name.isidentifier() for name in shares)
    if not shares or not names_fit or min(shares.values()) < 0 or sum(shares.values()) <= 0:
        raise ConfigError(
            f"split={split!r} is neither a name nor a table of names and shares.",
            hint="Write split='train' or split={'train': 0.9, 'test': 0.1}.",
        )
    return shares


def split_of(task_id: str, shares: Mapping[str, float]) -> str:
    """Return the split of a task, by a hash of its id alone: a task has the same split in every export."""
    point = int.from_bytes(hashlib.blake2b(task_id.encode(), digest_size=8).digest(), "big") / 2**64
    point *= sum(shares.values())
    *names, last = shares
    for name in names:
        point -= shares[name]
        if point < 0:
            return name
    return last


def _require_pyarrow() -> None:
    if find_spec("pyarrow") is None:
        raise ConfigError(
            "Parquet needs pyarrow, which is not installed.",
            hint="Install critic-loop[export], or write format='jsonl'.",
        )


def _no_rows(exporter: Exporter, staged: _Staged) -> ExportError:
    if not staged.trees:
        return ExportError(f"nothing to export as {exporter.name!r}: there are no trees.")
    reasons = "; ".join(f"{reason}: {count}" for reason, count in sorted(staged.skipped.items()))
    detail = f" Skipped: {reasons}." if reasons else ""
    return ExportError(
        f"no rows for {exporter.name!r} from {staged.trees} trees: {exporter.when_empty}.{detail}",
        hint="Export more trees, or relax the format's settings. In Python, allow_empty=True writes no rows.",
    )


@dataclass
class _Staged:
    """The files in the staging folder, and the counts for the manifest."""

    root: Path
    shares: dict[str, float]
    trees: int = 0
    rows: Counter[str] = field(default_factory=Counter[str])
    skipped: Counter[str] = field(default_factory=Counter[str])
    notes: Counter[str] = field(default_factory=Counter[str])
    licenses: Counter[str] = field(default_factory=Counter[str])
    languages: set[str] = field(default_factory=set[str])
    shapes: Shapes = field(default_factory=Shapes)
    files: dict[str, IO[str]] = field(default_factory=dict[str, IO[str]])

    @property
    def total(self) -> int:
        return self.rows.total()

    def open(self, stack: ExitStack) -> None:
        (self.root / "data").mkdir()
        for name in self.shares:
            path = self.root / "data" / f"{name}.jsonl"
            self.files[name] = stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))

    def add(self, exporter: Exporter, trees: Iterable[Tree]) -> None:
        for tree in trees:
            self.trees += 1
            for item in exporter.rows((tree,)):
                if isinstance(item, Skip):
                    self.skipped[item.reason] += 1
                else:
                    self._write(tree, item)

    def _write(self, tree: Tree, row: Row) -> None:
        name = split_of(tree.task.id, self.shares)
        self.files[name].write(json.dumps(row.columns, ensure_ascii=False, allow_nan=False) + "\n")
        self.rows[name] += 1
        self.notes.update(row.notes)
        self.licenses[tree.task.license] += 1
        self.languages |= {tree.task.language} - {""}
        self.shapes.add(row.columns)
        for image in row.images:
            path = self.root / image_path(image)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(image.data or b"")

    def finish(self, exporter: Exporter, format: FileFormat) -> Manifest:  # noqa: A002
        """Write Parquet, card and manifest; delete JSONL that was not asked for."""
        for name in self.shares:
            path = self.root / "data" / f"{name}.jsonl"
            if format != "jsonl":
                from critic_loop.export.parquet import to_parquet

                to_parquet(path, path.with_suffix(".parquet"), self.shapes, images=self.root)
            if format == "parquet":
                path.unlink()
        if format == "parquet":
            shutil.rmtree(self.root / "images", ignore_errors=True)
        manifest = self._manifest(exporter)
        text = card(manifest.model_dump(mode="json"), sorted(self.languages), list(self.shapes.kinds))
        (self.root / "README.md").write_text(text, encoding="utf-8", newline="\n")
        body = json.dumps(manifest.model_dump(mode="json"), ensure_ascii=False, indent=2)
        (self.root / "manifest.json").write_text(body + "\n", encoding="utf-8", newline="\n")
        return manifest

    def _manifest(self, exporter: Exporter) -> Manifest:
        paths = sorted((self.root / "data").iterdir())
        files = {f"data/{path.name}": _info(path, self.rows[path.stem]) for path in paths}
        settings = settings_of(exporter)
        return Manifest(
            export=exporter.name,
            settings=settings,
            trees=self.trees,
            rows={name: self.rows[name] for name in self.shares},
            skipped=dict(sorted(self.skipped.items())),
            notes=dict(sorted(self.notes.items())),
            licenses=dict(sorted(self.licenses.items())),
            files=files,
            digest=digest_of([settings, {path: info.sha256 for path, info in files.items()}]),
        )


def _info(path: Path, rows: int) -> FileInfo:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileInfo(rows=rows, bytes=path.stat().st_size, sha256=digest)


def _files_listed_in(manifest: Path) -> list[str]:
    """Return the data files of an earlier export; none if there is no manifest or it cannot be read."""
    try:
        return list(Manifest.model_validate_json(manifest.read_bytes()).files)
    except (OSError, ValueError):
        return []


def _move(staging: Path, out: Path) -> None:
    """Delete the files that an earlier export listed, then move the staged ones, the manifest last."""
    for path in _files_listed_in(out / "manifest.json"):
        if (out / path).resolve().is_relative_to(out.resolve()):  # the manifest may not be ours
            (out / path).unlink(missing_ok=True)
    files = sorted(path for path in staging.rglob("*") if path.is_file())
    files.sort(key=lambda path: path.name == "manifest.json")
    for path in files:
        target = out / path.relative_to(staging)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
