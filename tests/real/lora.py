"""LoRA adapters with random weights, in PEFT's format: for tests of vLLM."""

import json

import numpy as np
from safetensors.numpy import save_file

PARTS = ("q_proj", "v_proj")


def write_adapter(folder, seed, *, width, layers, rank=8, scale=1.0):
    """Write an adapter of a Llama's attention; `scale` is the size of its change to the weights."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    weights = {}
    for layer in range(layers):
        for part in PARTS:
            at = f"base_model.model.model.layers.{layer}.self_attn.{part}"
            weights[f"{at}.lora_A.weight"] = rng.standard_normal((rank, width), dtype="float32")
            weights[f"{at}.lora_B.weight"] = scale * rng.standard_normal((width, rank), dtype="float32")
    save_file(weights, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank, "bias": "none",
        "target_modules": PARTS, "base_model_name_or_path": "base", "lora_dropout": 0.0,
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))
