import subprocess
from pathlib import Path

import pytest

from tests.real.vllm import PYTHON


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A folder with a tiny model, `base`, and its adapters `v1` and `v2`."""
    folder = tmp_path_factory.mktemp("tiny")
    script = Path(__file__).with_name("tiny_llama.py")
    subprocess.run([PYTHON, str(script), str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def countdown(tmp_path_factory):
    """A folder with the demo's model, `base`, and an adapter `v1` that changes answers, not their format."""
    for name in ("onnx", "onnxruntime", "safetensors"):
        pytest.importorskip(name, reason="needs the layout: pip install onnx onnxruntime safetensors")
    from critic_loop.demo import layout
    from tests.real.lora import write_adapter

    folder = tmp_path_factory.mktemp("countdown")
    checkpoint = layout.read(layout.bundled_weights())
    layout.write_hf(checkpoint, folder / "base")
    sizes = checkpoint.config
    write_adapter(
        folder / "v1", 1, width=sizes["hidden_size"], layers=sizes["num_hidden_layers"], rank=4, scale=0.03
    )
    return folder
