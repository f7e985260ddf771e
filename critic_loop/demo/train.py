"""Trains the small model from nothing: `python -m critic_loop.demo.train --out DIR`.

Knows optimisation, stages, checkpoints and logging. Does not know what an example means (`corpus`), how
text is sampled (`runtime`), or how well the result does (`evaluate`). It is the only way in that needs
PyTorch; nothing at run time imports it.

First from examples that need no network: solutions, flawed answers with the truth about each line, and
solutions after flawed answers. Then from the network's own answers and its own critiques of them, twice,
so that critic and reviser learn what they will meet.
A run that was stopped goes on from its last checkpoint when started again.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from critic_loop.demo.chars import CONTEXT_TOKENS, VOCAB_SIZE
from critic_loop.demo.corpus import FAR, Chain, Mix, drawn, examples, own_examples, stream
from critic_loop.demo.countdown import LEVELS
from critic_loop.demo.evaluate import measure
from critic_loop.demo.llama import Llama, LlamaShape
from critic_loop.demo.onnx_graph import build, write
from critic_loop.demo.rollouts import Play, play_all
from critic_loop.demo.runtime import Runtime
from critic_loop.demo.seeds import seed_of
from critic_loop.demo.supervised import Batch, Labelled, batches, labelled, loss_of

_PART = 5000
"""The number of examples that a process makes per task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of supervised training."""

    name: str
    steps: int
    rates: tuple[float, float]
    """Learning rate at the first and the last step, as a share of the peak."""
    made: int
    """The number of examples without answers by the network."""
    mix: Mix = Mix()
    played: int = 0
    """The number of puzzles that the network answers before the stage, for further examples."""
    warmup_steps: int = 50


STAGES = (
    Stage(name="made", steps=5200, rates=(1.0, 0.4), made=400_000, mix=Mix(hard_level=FAR, shown=8)),
    Stage(name="own", steps=1800, rates=(0.5, 0.3), made=50_000, played=8000, mix=Mix(hard_level=FAR, shown=8)),
    Stage(
        name="own_again",
        steps=2000,
        rates=(0.3, 0.0),
        made=60_000,
        mix=Mix(draft=0.4, critique=0.15, shown=8, avoid=True),
        played=6000,
    ),
    Stage(
        name="one_shown",
        steps=1000,
        rates=(0.25, 0.0),
        made=30_000,
        mix=Mix(draft=0.25, critique=0.1, avoid=True),
        played=4000,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a run, besides its stages."""

    out: Path
    seed: int = 0
    threads: int = 2
    batch_tokens: int = 8192
    peak_rate: float = 3e-3
    weight_decay: float = 0.01
    save_every: int = 250
    log_every: int = 100


def shape() -> LlamaShape:
    """Returns the network's sizes."""
    return LlamaShape(
        vocab_size=VOCAB_SIZE,
        max_position_embeddings=CONTEXT_TOKENS,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=5,
        num_attention_heads=6,
    )


def optimizers_of(net: Llama, settings: Settings) -> list[torch.optim.Optimizer]:
    """Gives the layers' matrices to Muon and everything else to AdamW."""
    hidden = [p for p in net.model.layers.parameters() if p.dim() == 2]
    chosen = {id(p) for p in hidden}
    rest = [p for p in net.parameters() if id(p) not in chosen]
    muon = torch.optim.Muon(
        hidden, lr=settings.peak_rate, weight_decay=settings.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    return [muon, torch.optim.AdamW(rest, lr=settings.peak_rate, betas=(0.9, 0.98), weight_decay=0.0)]


def rate_at(stage: Stage, step: int) -> float:
    """Returns the share of the peak rate at a step: warm-up, then a cosine between the ends."""
    first, last = stage.rates
    turned = 0.5 * (1 + math.cos(math.pi * step / stage.steps))
    return min(1.0, (step + 1) / stage.warmup_steps) * (last + (first - last) * turned)


class Trainer:
    """One network, its optimisers and its place in the stages."""

    def __init__(self, settings: Settings) -> None:
        """Builds a fresh network from the seed."""
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.net = Llama(shape())
        self.forward = torch.compile(self.net, dynamic=False)
        self.optimizers = optimizers_of(self.net, settings)
        self.stage_index, self.step = 0, 0
        self.tokens, self.spent_s = 0, 0.0

    @property
    def path(self) -> Path:
        """The path of the running checkpoint."""
        return self.settings.out / "checkpoint.pt"

    def save(self, path: Path) -> None:
        """Writes everything that a resumed run needs."""
        state = {
            "net": self.net.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "place": (self.stage_index, self.step, self.tokens, self.spent_s),
        }
        part = path.with_suffix(".part")
        torch.save(state, part)
        part.replace(path)

    def load(self, path: Path) -> None:
        """Loads a checkpoint to continue from it."""
        state = torch.load(path, weights_only=True)
        self.net.load_state_dict(state["net"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.stage_index, self.step, self.tokens, self.spent_s = state["place"]

    def logits(self, token_ids: Tensor) -> Tensor:
        """Runs the network in half precision."""
        with torch.autocast("cpu", torch.bfloat16):
            return self.forward(token_ids)

    def update(self, rate: float) -> None:
        """Takes one optimiser step with the current gradients, and clears them."""
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.settings.peak_rate * rate
            optimizer.step()
            optimizer.zero_grad()

    def train_step(self, batch: Batch, rate: float) -> float:
        """Takes one supervised step and returns its loss."""
        loss = loss_of(self.logits(batch.token_ids), batch)
        loss.backward()
        self.update(rate)
        self.tokens += batch.token_ids.numel()
        return loss.item()

    def run(self, stage: Stage, pool: Sequence[Labelled]) -> None:
        """Trains to the end of a stage; a resumed stage restarts its examples in another order."""
        started, losses = time.monotonic() - self.spent_s, list[float]()
        supply = stream(pool, seed_of(self.settings.seed, stage.name, self.step))
        for batch in batches(supply, self.settings.batch_tokens):
            if self.step >= stage.steps:
                return
            losses.append(self.train_step(batch, rate_at(stage, self.step)))
            self.step += 1
            self.spent_s = time.monotonic() - started
            if self.step % self.settings.log_every == 0:
                _say({"stage": stage.name, "step": self.step, "loss": round(sum(losses) / len(losses), 4),
                      "tokens": self.tokens, "train_s": round(self.spent_s)})  # fmt: skip
                losses.clear()
            if self.step % self.settings.save_every == 0:
                self.save(self.path)


def export(trainer: Trainer, path: Path) -> str:
    """Writes the network as ONNX, in half precision, and returns the file's SHA-256."""
    weights = {name: tensor.float().cpu().numpy() for name, tensor in trainer.net.state_dict().items()}
    about = {"config": json.dumps(trainer.net.shape.as_hf_config()), "license": "Apache-2.0"}
    return write(path, build(trainer.net.shape, weights, about))


# -- examples ----------------------------------------------------------------------------------


def pool_of(trainer: Trainer, stage: Stage) -> list[Labelled]:
    """Makes a stage's examples with all processors, some of answers by the network if the stage needs them."""
    seed = trainer.settings.seed
    jobs: list[tuple[str, Mix, int | list[Chain]]] = [
        (f"{seed}:{stage.name}:{part}", stage.mix, min(_PART, stage.made - part))
        for part in range(0, stage.made, _PART)
    ]
    if stage.played:
        chains = collect(trainer, stage)
        jobs += [
            (f"{seed}:{stage.name}:own:{part}", stage.mix, chains[part : part + _PART // 5])
            for part in range(0, len(chains), _PART // 5)
        ]
    with multiprocessing.get_context("fork").Pool(trainer.settings.threads) as processes:
        return [one for part in processes.imap(_made, jobs, chunksize=1) for one in part]


def _made(job: tuple[str, Mix, int | list[Chain]]) -> list[Labelled]:
    seed, mix, given = job
    made = examples(seed, mix, given) if isinstance(given, int) else own_examples(seed, mix, given)
    return [labelled(example) for example in made]


def collect(trainer: Trainer, stage: Stage) -> list[Chain]:
    """Lets the network draft, judge and revise training puzzles."""
    settings, weights = trainer.settings, trainer.settings.out / "playing.onnx"
    export(trainer, weights)
    rng = random.Random(seed_of(settings.seed, stage.name))  # noqa: S311  # puzzles, no secrets
    puzzles = [drawn(rng, stage.mix) for _ in range(stage.played)]
    started, how = time.monotonic(), Play(rounds=6, shown=stage.mix.shown, seed=settings.seed)
    with Runtime(weights, threads=settings.threads) as runtime:
        played = play_all(runtime, puzzles, how)
    solved = sum(any(turn.right for turn in turns) for turns in played) / len(played)
    _say({"collected": stage.name, "solved": round(solved, 3), "seconds": round(time.monotonic() - started)})
    return [
        Chain(puzzle=puzzle, answers=tuple(turn.rejected for turn in turns))
        for puzzle, turns in zip(puzzles, played, strict=True)
    ]


# -- the command ---------------------------------------------------------------------------------


def finish(trainer: Trainer) -> None:
    """Saves the network at the end of a stage, measures it on a few puzzles, and moves to the next stage."""
    out, index = trainer.settings.out, trainer.stage_index + 1
    trainer.stage_index, trainer.step = index, 0
    trainer.save(trainer.path)
    path = out / f"stage-{index}.onnx"
    _say({"file": path.name, "sha256": export(trainer, path), "train_s": round(trainer.spent_s)})
    with Runtime(path, threads=trainer.settings.threads) as runtime:
        for name, level in LEVELS.items():
            _say({name: _shortly(measure(runtime, level, seed=7, count=300))})


def _shortly(facts: object) -> object:
    """Returns measurements without their intervals."""
    if isinstance(facts, dict):
        return facts["rate"] if "rate" in facts else {key: _shortly(value) for key, value in facts.items()}
    return facts


def _say(line: object) -> None:
    print(json.dumps(line), flush=True)  # noqa: T201  # a command that reports as it goes


def main(arguments: Iterable[str] | None = None) -> None:
    """Runs the stages after that of the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and exports")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--until", type=int, default=len(STAGES), help="stop after this many stages")
    given = parser.parse_args(None if arguments is None else list(arguments))
    torch.set_num_threads(given.threads)
    trainer = Trainer(Settings(out=given.out, seed=given.seed, threads=given.threads))
    given.out.mkdir(parents=True, exist_ok=True)
    if trainer.path.exists():
        trainer.load(trainer.path)
    while trainer.stage_index < given.until:
        stage = STAGES[trainer.stage_index]
        trainer.run(stage, pool_of(trainer, stage))
        finish(trainer)


if __name__ == "__main__":
    main()
