"""This release's number; `pyproject.toml` has the same."""

VERSION = "0.1.0"
