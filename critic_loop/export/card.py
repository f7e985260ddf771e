"""The dataset card of an export: `README.md` with the YAML header that dataset hubs read.

Knows the header's fields and the manifest. Does not know trees.
"""

from __future__ import annotations

import json
from typing import Any

_COLUMNS = {
    "messages": "the conversation",
    "prompt": "the messages before the completion or the two answers",
    "completion": "the answer",
    "chosen": "the better answer",
    "rejected": "the worse answer",
    "tools": "JSON Schemas of the tools",
    "images": 'the images of the `{"type": "image"}` parts, in order',
    "provenance": "tree, attempts, feedback, recipe, task, source, license, models, what decided",
    "weight": "1 / number of rows from the same tree",
}


def card(manifest: dict[str, Any], languages: list[str], columns: list[str]) -> str:
    """Return the card's text.

    Args:
        manifest: a `Manifest` as JSON.
        languages: language codes of the tasks.
        columns: the names of all columns.
    """
    return "\n".join([*_header(manifest, languages), "", *_body(manifest, columns), ""])


def _header(manifest: dict[str, Any], languages: list[str]) -> list[str]:
    suffix = ".parquet" if any(path.endswith(".parquet") for path in manifest["files"]) else ".jsonl"
    licenses = sorted(manifest["licenses"])
    name = licenses[0] if len(licenses) == 1 and licenses[0] else "other"
    lines = [
        "---",
        f"pretty_name: {_quoted('Critic Loop ' + manifest['export'])}",
        f"license: {_quoted(name)}",
        *(["language:", *(f"- {_quoted(language)}" for language in languages)] if languages else []),
        "tags:",
        "- critic_loop",
        "- synthetic",
        "size_categories:",
        f"- {_size(sum(manifest['rows'].values()))}",
        "configs:",
        f"- config_name: {_quoted(manifest['export'])}",
        "  data_files:",
    ]
    for split in manifest["rows"]:
        lines += [f"  - split: {split}", f"    path: data/{split}{suffix}"]
    return [*lines, "---"]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _size(rows: int) -> str:
    bounds = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")]
    return next((name for bound, name in bounds if rows < bound), "n>1M")


def _body(manifest: dict[str, Any], columns: list[str]) -> list[str]:
    total = f"{sum(manifest['rows'].values())} rows from {manifest['trees']} trees"
    lines = [
        f"# {manifest['export']}",
        "",
        f"{total}, written by Critic Loop {manifest['critic_loop']}.",
        "Settings, hashes and the counts of skipped items are in `manifest.json`.",
        "",
        "| column | content |",
        "|---|---|",
        *(f"| `{name}` | {_COLUMNS.get(name, '')} |" for name in columns),
    ]
    for title, counts in (("skipped", manifest["skipped"]), ("notes", manifest["notes"])):
        if counts:
            lines += ["", f"| {title} | count |", "|---|---|"]
            lines += [f"| {reason} | {count} |" for reason, count in counts.items()]
    licenses = {name or "(none given)": count for name, count in manifest["licenses"].items()}
    lines += [
        "",
        "| license of the tasks | rows |",
        "|---|---|",
        *(f"| {n} | {c} |" for n, c in licenses.items()),
    ]
    return lines
