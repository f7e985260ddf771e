"""The small model in the layouts of others: `python -m critic_loop.demo.layout --to hf DIR`.

Knows the exported graph (`onnx_graph`) as a checkpoint and the files of a Hugging Face folder. Needs the
packages onnx and safetensors; PyTorch and transformers only read what it writes.

The folder holds a `LlamaForCausalLM` in half precision, as the graph stores it. Serve it in float32
(`--dtype float32` in vLLM, `dtype=torch.float32` in transformers): the numbers were trained and measured
with float32 arithmetic, and a critique's confidence hangs on small differences.

What servers need to be told, and what not:

- the chat template reads the role and the puzzle out of the conversation and ends where the model is to
  write. With `add_generation_prompt` that is a new turn; without it, an assistant message at the end is a
  beginning that the model goes on with. No BOS token exists, and none is added;
- a stop token is named in `generation_config.json`; padding (id 0) is never written;
- rows of the embedding past the last token are unused and have no token; vLLM pads its vocabulary by
  itself. A head is 32 wide at the sizes in use: vLLM's CPU attention takes that, some GPU kernels want 64
  or more and vLLM then chooses another backend;
- the context is as long as `max_position_embeddings`: `--max-model-len` must not be longer.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from critic_loop.core.errors import ConfigError
from critic_loop.demo.chars import END_ID, PAD_ID, SPLIT, TOKENS
from critic_loop.demo.chat import chat_template

PAD, END = "<pad>", "<end>"
"""The names of the two tokens without a text, in tokenizer files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The sizes and weights in an exported graph."""

    config: dict[str, Any]
    """The sizes, under the names of `LlamaConfig`."""
    tensors: dict[str, NDArray[np.float16]]
    """By their names in `LlamaForCausalLM`."""


def bundled_weights() -> bytes:
    """Returns the exported graph that comes with the package."""
    return (files("critic_loop.demo") / "weights" / "countdown.onnx").read_bytes()


def read(graph: bytes) -> Checkpoint:
    """Returns the checkpoint within a graph written by `onnx_graph`.

    Raises:
        ConfigError: onnx is not installed, or this is no such graph.
    """
    try:
        import onnx  # pyright: ignore[reportMissingImports]  # nothing else needs it
        from google.protobuf.message import DecodeError  # pyright: ignore[reportMissingTypeStubs, reportMissingImports, reportMissingModuleSource]
        from onnx import numpy_helper  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise _missing("onnx") from error
    try:
        model: Any = onnx.load_from_string(graph)
    except DecodeError as error:
        raise ConfigError("This is no ONNX file.", hint="Give one that onnx_graph wrote.") from error
    about = {prop.key: prop.value for prop in model.metadata_props}
    arrays = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    tensors = {name: value for name, value in arrays.items() if name.endswith(".weight")}
    if "config" not in about or not tensors or any(v.dtype != np.float16 for v in tensors.values()):
        raise ConfigError(
            "The ONNX file holds no checkpoint in half precision.", hint="Give one that onnx_graph wrote."
        )
    return Checkpoint(config=json.loads(about["config"]), tensors=tensors)


def write_hf(checkpoint: Checkpoint, folder: Path) -> list[Path]:
    """Writes a Hugging Face folder and returns its files; what else lies there stays.

    Raises:
        ConfigError: safetensors is not installed, or the folder cannot be written.
    """
    try:
        from safetensors.numpy import save  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise _missing("safetensors") from error
    size = checkpoint.config["vocab_size"]
    if size < len(TOKENS):
        raise ConfigError(f"The checkpoint has {size} token rows, and there are {len(TOKENS)} tokens.")
    contents = {
        "model.safetensors": save(checkpoint.tensors, metadata={"format": "pt"}),
        "config.json": _json(hf_config(checkpoint.config)),
        "generation_config.json": _json({**_special_ids(), "do_sample": False}),
        "tokenizer.json": _json(tokenizer()),
        "tokenizer_config.json": _json(tokenizer_config(checkpoint.config)),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in contents.items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise ConfigError(f"Cannot write {folder}: {error.strerror or error}.") from error
    return [folder / name for name in contents]


def hf_config(sizes: dict[str, Any]) -> dict[str, Any]:
    """Returns `config.json`."""
    heads, theta = sizes["num_attention_heads"], sizes["rope_theta"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **sizes,
        "num_key_value_heads": heads,
        "head_dim": sizes["hidden_size"] // heads,
        "rope_parameters": {"rope_type": "default", "rope_theta": theta},
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
        **_special_ids(),
    }


def tokenizer() -> dict[str, Any]:
    """Returns `tokenizer.json`: the tokens as words, cut by the same expression as in `chars`.

    There is no unknown token: a foreign character is an error, as in `chars.encode`. Decoding joins the
    texts of the tokens as they are.
    """
    special = [
        {"id": number, "content": name, "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for number, name in ((PAD_ID, PAD), (END_ID, END))
    ]
    words = {token: number for number, token in enumerate(TOKENS) if token}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": SPLIT},
            "behavior": "Isolated",
            "invert": False,
        },
        "post_processor": None,
        "decoder": {"type": "Fuse"},
        "model": {"type": "WordLevel", "vocab": {PAD: PAD_ID, END: END_ID} | words, "unk_token": ""},
    }


def tokenizer_config(sizes: dict[str, Any]) -> dict[str, Any]:
    """Returns `tokenizer_config.json`, the chat template within it."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": PAD,
        "eos_token": END,
        "bos_token": None,
        "unk_token": None,
        "clean_up_tokenization_spaces": False,
        "model_max_length": sizes["max_position_embeddings"],
        "chat_template": chat_template(),
    }


def _special_ids() -> dict[str, Any]:
    return {"bos_token_id": None, "eos_token_id": END_ID, "pad_token_id": PAD_ID}


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()


def _missing(package: str) -> ConfigError:
    return ConfigError(
        f"writing another layout needs {package}, which is not installed.",
        hint="Install it with: pip install onnx safetensors",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m critic_loop.demo.layout",
        description="Writes the small Countdown model in another layout.",
        epilog="hf: a Hugging Face folder for transformers and vLLM; serve it in float32.",
    )
    parser.add_argument("--to", required=True, choices=["hf"], help="the layout")
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="exported graph to read instead of the bundled one"
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder to write to; created if missing")
    given = parser.parse_args(arguments)
    try:
        graph = bundled_weights() if given.weights is None else given.weights.read_bytes()
        written = write_hf(read(graph), given.folder)
    except (ConfigError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  # it is a command
        return 2
    for path in written:
        print(f"{path}  {path.stat().st_size:,} bytes")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
