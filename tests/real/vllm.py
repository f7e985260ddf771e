"""The vLLM that tests are run against, and how it is started without a GPU."""

import os

import pytest

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
        "enable-chunked-prefill": False,  # else a seeded request ends the engine of 0.32 on a CPU
        "enable-auto-tool-choice": True,
        "tool-call-parser": "hermes",
    },
    "environment": {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "OMP_NUM_THREADS": "1"},
    "start_timeout_s": 300,
}
