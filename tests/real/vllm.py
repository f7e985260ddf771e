"""The vLLM of the tests, and the settings that start it without a GPU."""

import os
from pathlib import Path

import pytest

from critic_loop.demo.chars import CONTEXT_TOKENS

PYTHON = os.environ.get("VLLM_PYTHON", "")
NEEDS_VLLM = pytest.mark.skipif(
    not PYTHON, reason="needs vLLM: `make test-vllm`, or set VLLM_PYTHON to its Python"
)
SERVE = {
    "command": [PYTHON, "-m", "vllm.entrypoints.openai.api_server"],
    "arguments": {
        "dtype": "float32",
        "max-model-len": 2048,
        "enforce-eager": True,
        "enable-chunked-prefill": False,  # vLLM 0.32 on a CPU stops at a chunked prompt with a seed
        "enable-auto-tool-choice": True,
        "tool-call-parser": "hermes",
    },
    "environment": {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "OMP_NUM_THREADS": "1"},
}
NO_TOOLS = {"enable-auto-tool-choice": None, "tool-call-parser": None}
SERVE_DEMO = SERVE | {"arguments": SERVE["arguments"] | NO_TOOLS | {"max-model-len": CONTEXT_TOKENS}}
"""For the small model of the demo."""


def servers_of(folder):
    """The ids of the API servers that serve what is in `folder`; supervisors are left out."""
    return [pid for pid, line in processes_of(folder / "base") if "supervisor.py" not in line]


def processes_of(folder):
    """The ids and command lines of all processes but this one whose command line names `folder`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line and entry.parent.name != str(os.getpid()):
            found.append((int(entry.parent.name), line))
    return found
