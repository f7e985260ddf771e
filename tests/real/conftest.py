import subprocess
from pathlib import Path

import pytest

from tests.real.vllm import PYTHON


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A folder with a tiny `base`, and its adapters `v1` and `v2`."""
    folder = tmp_path_factory.mktemp("tiny")
    script = Path(__file__).with_name("tiny_llama.py")
    subprocess.run([PYTHON, str(script), str(folder)], check=True, capture_output=True)
    return folder
