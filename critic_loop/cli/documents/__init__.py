"""What each command writes with `--json`. Public: published as JSON Schema in docs/schemas/cli.

A key is never renamed or given another meaning; new ones may be added, so readers ignore those that they do not
know. A module for each group of commands.
"""
