"""Writes a trained checkpoint as one ONNX graph, by hand, with the `onnx` package.

Knows the Llama shape and ONNX Runtime's grouped-query-attention operator,
which keeps keys and values in buffers that it updates in place. Does not know
sampling or batching. Needed for training only.

Initialisers keep the names, layout and rotary convention of Hugging Face's
`LlamaForCausalLM`, so the exported file is also a complete checkpoint (`layout`
writes it as one). They are stored in half precision, which halves the file, and
widened to float32 by nodes that ONNX Runtime folds away as it loads the graph:
all arithmetic is in float32.

Inputs, for `B` rows of at most `T` new tokens:

    token_ids        int64 [B, T]   padded on the right
    last             int64 [B]      index of each row's last real token
    cached_less_one  int32 [B]      tokens of the row after this call, minus one
    total            int32 []       the largest `cached_less_one`, plus one
    past.N.key       float [B, H, P, D], and past.N.value

Outputs are `logits` `[B, V]` after each row's last token, and `present.N.*`,
to be bound to the same memory as `past.N.*`. A call either prefills empty rows
or adds one token to each row (`T` = 1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from critic_loop.demo.llama import LlamaShape, rotary_tables

_ORT_DOMAIN = "com.microsoft"
_OPSETS = (("", 17), (_ORT_DOMAIN, 1))

Weights: TypeAlias = Mapping[str, NDArray[np.float32]]


class _Graph:
    """Collects nodes and constants; each method returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def weight(self, name: str, value: NDArray[np.float32]) -> None:
        """Stores a matrix or gain in half precision; nodes use it under its `_wide` name.

        Raises:
            ValueError: a number is too large for half precision.
        """
        with np.errstate(over="ignore"):
            narrow = value.astype(np.float16)
        if not np.isfinite(narrow).all():
            raise ValueError(f"{name} has numbers that are too large for half precision")
        self.constant(name, narrow)
        self.node("Cast", [name], [_wide(name)], to=TensorProto.FLOAT)

    def node(
        self,
        op: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        *,
        domain: str = "",
        **attributes: float,
    ) -> str:
        node = helper.make_node(op, inputs, outputs, domain=domain)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self.nodes.append(node)
        return outputs[0]

    def linear(self, x: str, weight: str, out: str) -> str:
        return self.node("Gemm", [x, _wide(weight)], [out], transB=1)

    def add_and_norm(self, x: str, added: str, gain: str, out: str, eps: float) -> tuple[str, str]:
        """Returns the normalised sum and the sum itself."""
        names = [out, "", "", f"{out}.sum"]
        op = "SkipSimplifiedLayerNormalization"
        self.node(op, [x, added, _wide(gain)], names, domain=_ORT_DOMAIN, epsilon=eps)
        return out, names[3]


def _wide(name: str) -> str:
    return f"{name}.float32"


def _attention(graph: _Graph, shape: LlamaShape, layer: int, x: str) -> str:
    """Adds projections and attention; `x` and the result are `[B*T, W]`."""
    prefix = f"model.layers.{layer}.self_attn"
    parts = [_wide(f"{prefix}.{name}_proj.weight") for name in "qkv"]
    graph.node("Concat", parts, [_wide(f"{prefix}.qkv")], axis=0)
    flat = graph.linear(x, f"{prefix}.qkv", f"{prefix}.projected")
    packed = graph.node("Reshape", [flat, "row_shape"], [f"{prefix}.packed"])
    past = [f"past.{layer}.key", f"past.{layer}.value"]
    present = [f"present.{layer}.key", f"present.{layer}.value"]
    attended = graph.node(
        "GroupQueryAttention",
        [packed, "", "", *past, "cached_less_one", "total", "cos", "sin"],
        [f"{prefix}.seen", *present],
        domain=_ORT_DOMAIN,
        num_heads=shape.num_attention_heads,
        kv_num_heads=shape.num_attention_heads,
        do_rotary=1,
        rotary_interleaved=0,
    )
    flat_attended = graph.node("Reshape", [attended, "flat_shape"], [f"{prefix}.flat"])
    return graph.linear(flat_attended, f"{prefix}.o_proj.weight", f"{prefix}.out")


def _feed_forward(graph: _Graph, layer: int, x: str) -> str:
    prefix = f"model.layers.{layer}.mlp"
    gate = graph.linear(x, f"{prefix}.gate_proj.weight", f"{prefix}.gate")
    up = graph.linear(x, f"{prefix}.up_proj.weight", f"{prefix}.up")
    silu = graph.node("QuickGelu", [gate], [f"{prefix}.silu"], domain=_ORT_DOMAIN, alpha=1.0)
    mixed = graph.node("Mul", [silu, up], [f"{prefix}.mixed"])
    return graph.linear(mixed, f"{prefix}.down_proj.weight", f"{prefix}.out")


def _layers(graph: _Graph, shape: LlamaShape, x: str) -> str:
    """Adds all layers and the last norm; the sum of a layer is normalised with the next."""
    eps = shape.rms_norm_eps
    added = graph.node("Sub", [x, x], ["nothing"])
    for layer in range(shape.num_hidden_layers):
        prefix = f"model.layers.{layer}"
        gain = f"{prefix}.input_layernorm.weight"
        normed, x = graph.add_and_norm(x, added, gain, f"{prefix}.normed", eps)
        added = _attention(graph, shape, layer, normed)
        gain = f"{prefix}.post_attention_layernorm.weight"
        normed, x = graph.add_and_norm(x, added, gain, f"{prefix}.normed_again", eps)
        added = _feed_forward(graph, layer, normed)
    return graph.add_and_norm(x, added, "model.norm.weight", "normed", eps)[0]


def _add_constants(graph: _Graph, shape: LlamaShape, weights: Weights) -> None:
    for name, value in weights.items():
        graph.weight(name, value)
    half = shape.head_dim // 2
    cos, sin = rotary_tables(shape)
    graph.constant("cos", cos[:, :half].numpy())
    graph.constant("sin", sin[:, :half].numpy())
    graph.constant("flat_shape", np.array([-1, shape.hidden_size], np.int64))
    graph.constant("width_of_packed", np.array([3 * shape.hidden_size], np.int64))


def _inputs(shape: LlamaShape) -> list[onnx.ValueInfoProto]:
    named = helper.make_tensor_value_info
    return [
        named("token_ids", TensorProto.INT64, ["B", "T"]),
        named("last", TensorProto.INT64, ["B"]),
        named("cached_less_one", TensorProto.INT32, ["B"]),
        named("total", TensorProto.INT32, []),
        *_caches(shape, "past"),
    ]


def _caches(shape: LlamaShape, prefix: str) -> list[onnx.ValueInfoProto]:
    dims = ["B", shape.num_attention_heads, "P", shape.head_dim]
    return [
        helper.make_tensor_value_info(f"{prefix}.{layer}.{part}", TensorProto.FLOAT, dims)
        for layer in range(shape.num_hidden_layers)
        for part in ("key", "value")
    ]


def build(shape: LlamaShape, weights: Weights, about: Mapping[str, str]) -> onnx.ModelProto:
    """Returns the whole model; `about` becomes its metadata."""
    graph = _Graph()
    _add_constants(graph, shape, weights)
    sizes = graph.node("Shape", ["token_ids"], ["sizes"])
    graph.node("Concat", [sizes, "width_of_packed"], ["row_shape"], axis=0)
    rows = graph.node("Gather", [_wide("model.embed_tokens.weight"), "token_ids"], ["embedded"], axis=0)
    flat = graph.node("Reshape", [rows, "flat_shape"], ["embedded.flat"])
    hidden = _layers(graph, shape, flat)
    graph.constant("unflat_width", np.array([shape.hidden_size], np.int64))
    graph.node("Concat", [sizes, "unflat_width"], ["unflat_shape"], axis=0)
    by_row = graph.node("Reshape", [hidden, "unflat_shape"], ["hidden"])
    graph.constant("one", np.array([1], np.int64))
    where = graph.node("Unsqueeze", ["last", "one"], ["last.where"])
    ends = graph.node("GatherND", [by_row, where], ["hidden.last"], batch_dims=1)
    graph.linear(ends, "lm_head.weight", "logits")
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", shape.vocab_size])
    made = helper.make_graph(
        graph.nodes, "countdown", _inputs(shape), [logits, *_caches(shape, "present")], graph.constants
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS]
    model = helper.make_model(made, opset_imports=opsets, ir_version=9, producer_name="critic_loop")
    helper.set_model_props(model, dict(about))
    return model


def write(path: Path, model: onnx.ModelProto) -> str:
    """Writes the file and returns its SHA-256."""
    data = model.SerializeToString(deterministic=True)
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()
