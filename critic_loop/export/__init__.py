"""Exports trees as training data: one pure exporter per target format, and a writer of files.

`export(trees, "preference", "out/")` writes JSONL or Parquet with a manifest and a dataset card.
"""

from critic_loop.export.base import Exporter, Row, Skip
from critic_loop.export.critique_sft import CritiqueSft
from critic_loop.export.formats import FORMATS, exporter_of
from critic_loop.export.preference import Preference
from critic_loop.export.sft import Sft
from critic_loop.export.write import FileFormat, Manifest, export

__all__ = [
    "FORMATS",
    "CritiqueSft",
    "Exporter",
    "FileFormat",
    "Manifest",
    "Preference",
    "Row",
    "Sft",
    "Skip",
    "export",
    "exporter_of",
]
