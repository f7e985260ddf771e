"""The Hugging Face folder, as far as no other library is needed to see it; `tests/real` loads it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

pytest.importorskip("numpy", reason="the demo extra is not installed")

from critic_loop.core.errors import ConfigError
from critic_loop.demo import layout
from critic_loop.demo.chars import END_ID, PAD_ID, TOKENS, encode
from critic_loop.demo.chat import chat_template

SIZES = {
    "vocab_size": 160,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "rope_theta": 10_000.0,
    "rms_norm_eps": 1e-5,
}


def test_the_config_is_a_llama_with_our_special_tokens():
    config = layout.hf_config(SIZES)
    assert config.items() >= SIZES.items()
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert (config["head_dim"], config["num_key_value_heads"]) == (16, 4)
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (None, END_ID, PAD_ID)


def test_the_tokenizer_has_each_token_once_and_cuts_as_chars_does():
    made = layout.tokenizer()
    by_id = {number: token for token, number in made["model"]["vocab"].items()}
    assert sorted(by_id) == list(range(len(TOKENS)))
    assert [by_id[i] for i in range(2, len(TOKENS))] == list(TOKENS[2:])
    assert {one["id"]: one["content"] for one in made["added_tokens"]} == {PAD_ID: "<pad>", END_ID: "<end>"}
    text = (
        "<critique>24:3,5,7,108\nLine 1: 7*3=21>5,8,21\n?Line 1: right, dead end (80%)\nVerdict: wrong (99%)\n"
    )
    cut = [found[0] for found in re.finditer(made["pre_tokenizer"]["pattern"]["Regex"], text)]
    assert [made["model"]["vocab"][token] for token in cut] == encode(text)


def test_the_chat_template_travels_along():
    made = layout.tokenizer_config(SIZES)
    assert made["chat_template"] == chat_template()
    assert made["model_max_length"] == SIZES["max_position_embeddings"]
    assert json.loads(json.dumps(made)) == made


def run(*arguments: str):
    command = [sys.executable, "-m", "critic_loop.demo.layout", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_explains_itself():
    shown = run("--help")
    assert shown.returncode == 0
    assert "--to {hf}" in shown.stdout
    assert run("out").returncode == 2
    assert "--to" in run("out").stderr


def test_a_missing_file_is_named(tmp_path, capsys):
    assert layout.main(["--to", "hf", "--weights", str(tmp_path / "no.onnx"), str(tmp_path / "out")]) == 2
    assert "no.onnx" in capsys.readouterr().err


@pytest.mark.skipif(find_spec("onnx") is not None, reason="onnx is installed")
def test_a_missing_package_is_named(tmp_path, capsys):
    assert layout.main(["--to", "hf", str(tmp_path)]) == 2
    assert "pip install onnx" in capsys.readouterr().err


@pytest.mark.skipif(find_spec("onnx") is None, reason="onnx is not installed")
@pytest.mark.parametrize("data", [b"", b"hello", b"\x08\x09"])
def test_what_is_no_checkpoint_is_refused(data):
    with pytest.raises(ConfigError, match="ONNX"):
        layout.read(data)
