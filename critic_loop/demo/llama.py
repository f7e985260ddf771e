"""A small Llama in PyTorch, for training only.

Knows the shape of a Llama (RMSNorm, rotary positions in the half-split
convention, SwiGLU, no biases) and names its tensors as Hugging Face
`LlamaForCausalLM` does, so that a checkpoint loads there unchanged.
Does not know the alphabet, the puzzle, or how it is trained.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional


class HfConfig(TypedDict):
    """The keys of a Hugging Face `LlamaConfig` that this model sets."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    rope_theta: float
    rms_norm_eps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaShape:
    """Sizes of the network; field names are those of `LlamaConfig`."""

    vocab_size: int
    hidden_size: int = 128
    intermediate_size: int = 344
    num_hidden_layers: int = 5
    num_attention_heads: int = 4
    max_position_embeddings: int = 256
    rope_theta: float = 10_000.0
    rms_norm_eps: float = 1e-5

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    def as_hf_config(self) -> HfConfig:
        """Returns the fields as a Hugging Face `LlamaConfig` wants them."""
        return HfConfig(**asdict(self))


def rotary_tables(shape: LlamaShape) -> tuple[Tensor, Tensor]:
    """Returns cosines and sines `[P, head_dim]` for every position `P`."""
    half = shape.head_dim // 2
    rates = shape.rope_theta ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = torch.outer(torch.arange(shape.max_position_embeddings, dtype=torch.float64), rates)
    doubled = torch.cat([angles, angles], dim=-1)
    return doubled.cos().float(), doubled.sin().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns `x` `[B, H, T, D]` by its positions; half-split, as Llama in transformers."""
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-right, left], dim=-1) * sin


class Attention(nn.Module):
    """Causal multi-head self-attention with rotary positions."""

    def __init__(self, shape: LlamaShape) -> None:
        """Builds the four projections."""
        super().__init__()
        width = shape.hidden_size
        self.heads, self.head_dim = shape.num_attention_heads, shape.head_dim
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Maps `[B, T, W]` to `[B, T, W]`; each position sees itself and earlier ones."""
        batch, length, width = x.shape
        split = (batch, length, self.heads, self.head_dim)
        query = self.q_proj(x).view(split).transpose(1, 2)
        key = self.k_proj(x).view(split).transpose(1, 2)
        value = self.v_proj(x).view(split).transpose(1, 2)
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        # Written out: on CPUs the fused kernel's backward pass took half of a training step.
        future = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        scores = (query @ key.transpose(-2, -1)) * self.head_dim**-0.5
        seen = scores.float().masked_fill(future, -torch.inf).softmax(-1).to(value.dtype) @ value
        return self.o_proj(seen.transpose(1, 2).reshape(batch, length, width))


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, shape: LlamaShape) -> None:
        """Builds the three projections."""
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.up_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.down_proj = nn.Linear(shape.intermediate_size, shape.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[B, T, W]` to `[B, T, W]`, each position by itself."""
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """One layer: attention and feed-forward, each normalised before and added back."""

    def __init__(self, shape: LlamaShape) -> None:
        """Builds both halves."""
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)
        self.mlp = FeedForward(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Maps `[B, T, W]` to `[B, T, W]`."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Trunk(nn.Module):
    """Embedding, layers and the last norm: `model.*` in a Llama checkpoint."""

    def __init__(self, shape: LlamaShape) -> None:
        """Builds the layers; the rotary tables are not part of the state."""
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.num_hidden_layers))
        self.norm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)
        cos, sin = rotary_tables(shape)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, token_ids: Tensor) -> Tensor:
        """Maps token ids `[B, T]` to hidden states `[B, T, W]`."""
        length = token_ids.shape[1]
        cos, sin = self.get_buffer("cos")[:length], self.get_buffer("sin")[:length]
        x = self.embed_tokens(token_ids)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.norm(x)


class Llama(nn.Module):
    """The whole network; `state_dict` keys equal those of `LlamaForCausalLM`."""

    def __init__(self, shape: LlamaShape) -> None:
        """Draws all matrices from N(0, 0.02), output projections scaled by depth."""
        super().__init__()
        self.shape = shape
        self.model = Trunk(shape)
        self.lm_head = nn.Linear(shape.hidden_size, shape.vocab_size, bias=False)
        shrink = (2 * shape.num_hidden_layers) ** -0.5
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                is_output = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(weight, std=0.02 * (shrink if is_output else 1.0))

    def forward(self, token_ids: Tensor) -> Tensor:
        """Maps token ids `[B, T]` to logits `[B, T, V]`."""
        return self.lm_head(self.model(token_ids))
