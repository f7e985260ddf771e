"""Trains the small model from nothing: `python -m critic_loop.demo.train`.

Knows optimisation, stages, checkpoints and logging. Does not know what an
example means (`corpus`), how text is sampled (`runtime`), or how well the
result does (`evaluate`). It is the only way in that needs PyTorch; nothing at
run time imports it.

Three supervised stages: plain prompts with synthetic rejected attempts; then
prompts with attempts that the model of stage one made and that were wrong; then
with chains of attempts, each made by the model of stage two on seeing those
before it. In a last stage the model plays the loop itself (`reinforce`).
A run that was stopped goes on from its last checkpoint when started again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from critic_loop.demo import reinforce
from critic_loop.demo.chars import VOCAB_SIZE
from critic_loop.demo.corpus import Corpus, Mix
from critic_loop.demo.countdown import Puzzle, generate, prompt_of, puzzle_of, sample_puzzles
from critic_loop.demo.evaluate import measure
from critic_loop.demo.llama import Llama, LlamaShape
from critic_loop.demo.onnx_graph import build, write
from critic_loop.demo.rollouts import Plan, Rollout, roll_all
from critic_loop.demo.runtime import Runtime
from critic_loop.demo.seeds import seed_of
from critic_loop.demo.supervised import LENGTHS, Batch, batches, loss_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stretch of training."""

    name: str
    steps: int
    mix: Mix
    rates: tuple[float, float]
    """Learning rate at the first and the last step, as a share of the peak."""
    warmup_steps: int = 50
    sees_rejected: bool = False
    """Whether the attempts to learn from are sampled with earlier ones shown."""


STAGES = (
    Stage(name="plain", steps=3000, mix=Mix(synthetic=0.12), rates=(1.0, 0.25)),
    Stage(
        name="own_attempts",
        steps=1500,
        mix=Mix(synthetic=0.03, on_policy=0.5),
        rates=(0.6, 0.2),
    ),
    Stage(
        name="own_chains",
        steps=1500,
        mix=Mix(on_policy=0.55),
        rates=(0.4, 0.0),
        sees_rejected=True,
    ),
    Stage(
        name="contrast",
        steps=1200,
        mix=Mix(on_policy=0.35, contrast=0.35),
        rates=(0.5, 0.05),
        sees_rejected=True,
    ),
)


PLAY_SIZES = (4,) * 17 + (3, 3, 5)
"""How many numbers the puzzles of the last stage have, by share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a run is determined by, besides the stages."""

    out: Path
    seed: int = 0
    batch_tokens: int = 6144
    peak_rate: float = 3e-3
    weight_decay: float = 0.01
    save_every: int = 250
    log_every: int = 50
    attempted_puzzles: int = 8000
    """Training puzzles that the network tries before a stage that learns from its attempts."""
    play_rounds: int = 60
    played_puzzles: int = 100
    """Puzzles of one round of the last stage."""
    play_rate: float = 0.25
    """Learning rate of the last stage at its start, as a share of the peak; it falls to 0."""
    play_updates: int = 2
    """Optimiser steps of a round."""


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
        self.net = Llama(LlamaShape(vocab_size=VOCAB_SIZE))
        self.forward = torch.compile(self.net, dynamic=False)
        self.optimizers = optimizers_of(self.net, settings)
        self.stage_index, self.step = 0, 0
        self.tokens, self.spent_s = 0, 0.0

    @property
    def path(self) -> Path:
        """Where the running checkpoint lies."""
        return self.settings.out / "checkpoint.pt"

    def save(self, path: Path) -> None:
        """Writes everything that a resumed run needs."""
        state = {
            "net": self.net.state_dict(),
            "config": self.net.shape.as_hf_config(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "place": (self.stage_index, self.step, self.tokens, self.spent_s),
        }
        part = path.with_suffix(".part")
        torch.save(state, part)
        part.replace(path)

    def load(self, path: Path) -> None:
        """Takes up a checkpoint where it was left."""
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
        """Takes one optimiser step with the gradients at hand, and clears them."""
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.settings.peak_rate * rate
            optimizer.step()
            optimizer.zero_grad()

    def train_step(self, batch: Batch, rate: float) -> Tensor:
        """Takes one supervised step and returns its loss."""
        loss = loss_of(self.logits(batch.token_ids), batch)
        loss.backward()
        self.update(rate)
        return loss.detach()

    def policy_step(self, samples: Sequence[reinforce.Graded], rate: float) -> None:
        """Takes one step along the policy gradient of all samples together."""
        for batch in reinforce.batches(samples, LENGTHS, self.settings.batch_tokens):
            loss = reinforce.policy_loss(self.logits(batch.token_ids), batch) / len(samples)
            loss.backward()
            self.tokens += batch.token_ids.numel()
        self.update(rate)

    def run(self, stage: Stage, corpus: Corpus) -> None:
        """Trains to the end of a stage; a resumed stage draws fresh examples, not repeats."""
        stream = corpus.examples(self.settings.seed * 1_000_003 + self.stage_index * 10_007 + self.step)
        started, losses = time.monotonic() - self.spent_s, list[Tensor]()
        for batch in batches(stream, self.settings.batch_tokens):
            if self.step >= stage.steps:
                return
            losses.append(self.train_step(batch, rate_at(stage, self.step)))
            self.step += 1
            self.tokens += batch.token_ids.numel()
            self.spent_s = time.monotonic() - started
            if self.step % self.settings.log_every == 0:
                self.log(stage, losses)
                losses.clear()
            if self.step % self.settings.save_every == 0:
                self.save(self.path)

    def log(self, stage: Stage, losses: Sequence[Tensor]) -> None:
        """Prints one line of JSON."""
        loss = torch.stack(list(losses)).mean().item()
        line = {"stage": stage.name, "step": self.step, "loss": round(loss, 4)}
        _say(json.dumps(line | {"tokens": self.tokens, "train_s": round(self.spent_s)}))


def export(trainer: Trainer, path: Path) -> str:
    """Writes the network as ONNX and returns the file's SHA-256."""
    weights = {name: tensor.float().numpy() for name, tensor in trainer.net.state_dict().items()}
    shape = trainer.net.shape
    about = {"config": json.dumps(shape.as_hf_config()), "licence": "Apache-2.0"}
    return write(path, build(shape, weights, about))


def collect(trainer: Trainer, stage: Stage, path: Path) -> None:
    """Lets the network try training puzzles and writes down what was rejected."""
    settings, weights = trainer.settings, path.with_suffix(".onnx")
    export(trainer, weights)
    puzzles = sample_puzzles(settings.seed + trainer.stage_index, settings.attempted_puzzles, split="train")
    plan = Plan(calls=6, temperature=0.9, show_rejected=stage.sees_rejected, seed=settings.seed)
    started = time.monotonic()
    with Runtime(weights, threads=1) as runtime:
        rollouts = asyncio.run(roll_all(runtime, puzzles, plan))
    write_attempts(path, rollouts)
    solved = sum(r.solved for r in rollouts) / len(rollouts)
    line = {"collected": stage.name, "solved": round(solved, 3)}
    _say(json.dumps(line | {"collect_s": round(time.monotonic() - started)}))


def report(trainer: Trainer, path: Path) -> None:
    """Exports the network and prints its size, hash and held-out solve rates."""
    _say(json.dumps({"file": path.name, "sha256": export(trainer, path)}))
    with Runtime(path, threads=1) as runtime:
        rates = measure(runtime, seed=7, count=600, size=4, calls=6, temperature=0.8)
    _say(json.dumps(rates | {"train_s": round(trainer.spent_s)}))


def read_attempts(path: Path) -> dict[Puzzle, list[list[str]]]:
    """Reads groups of rejected attempts, one JSON object a line."""
    groups: dict[Puzzle, list[list[str]]] = {}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        puzzle = puzzle_of(row["prompt"])
        if puzzle is not None:
            groups.setdefault(puzzle, []).append(row["rejected"])
    return groups


def write_attempts(path: Path, rollouts: Sequence[Rollout]) -> None:
    """Writes what `read_attempts` reads, leaving out puzzles solved at once."""
    rows = ({"prompt": prompt_of(r.puzzle), "rejected": r.rejected} for r in rollouts if r.rejected)
    part = path.with_suffix(".part")
    part.write_text("".join(json.dumps(row) + "\n" for row in rows))
    part.replace(path)


def run_stage(trainer: Trainer) -> None:
    """Runs a supervised stage to its end, collecting attempts first if it needs them."""
    index, out = trainer.stage_index, trainer.settings.out
    stage, attempts = STAGES[index], out / f"attempts-{index}.jsonl"
    if stage.mix.on_policy and not attempts.exists():
        collect(trainer, stage, attempts)
    known = read_attempts(attempts) if attempts.exists() else None
    trainer.run(stage, Corpus(stage.mix, attempts=known))


def drawn_puzzles(seed: int, count: int) -> list[Puzzle]:
    """Draws training puzzles of the sizes that the last stage plays."""
    rng = random.Random(seed)  # noqa: S311  # puzzles, not secrets
    streams = {size: generate(rng.getrandbits(32), size=size, split="train") for size in set(PLAY_SIZES)}
    return [next(streams[rng.choice(PLAY_SIZES)]) for _ in range(count)]


def play_round(trainer: Trainer) -> None:
    """Plays one round of puzzles with the current network and learns from it."""
    settings, round_ = trainer.settings, trainer.step
    seed = seed_of("play", settings.seed, round_)
    weights = settings.out / "playing.onnx"
    export(trainer, weights)
    puzzles = drawn_puzzles(seed, settings.played_puzzles)
    with Runtime(weights, threads=1) as runtime:
        samples = asyncio.run(reinforce.play_all(runtime, puzzles, seed))
    random.Random(seed).shuffle(samples)  # noqa: S311  # an order, no secret
    rate = settings.play_rate * (1 - round_ / settings.play_rounds) * min(1.0, (round_ + 1) / 4)
    for part in range(settings.play_updates):
        trainer.policy_step(samples[part :: settings.play_updates], rate)
    right = sum(s.advantage > 0 for s in samples)
    _say(json.dumps({"round": round_, "samples": len(samples), "better": right}))


def play(trainer: Trainer) -> None:
    """Runs the last stage from where it stands."""
    started = time.monotonic() - trainer.spent_s
    while trainer.step < trainer.settings.play_rounds:
        play_round(trainer)
        trainer.step += 1
        trainer.spent_s = time.monotonic() - started
        if trainer.step % 10 == 0:
            trainer.save(trainer.path)
            report(trainer, trainer.settings.out / "playing.onnx")


def finish_stage(trainer: Trainer) -> None:
    """Keeps what a stage ended with, measures it, and moves to the next."""
    out, index = trainer.settings.out, trainer.stage_index + 1
    trainer.stage_index, trainer.step = index, 0
    trainer.save(trainer.path)
    trainer.save(out / f"stage-{index}.pt")
    report(trainer, out / f"stage-{index}.onnx")


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # a command that reports as it goes


def main() -> None:
    """Runs the stages from where the checkpoint stands."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and exports")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--until", type=int, default=len(STAGES) + 1, help="stop after so many stages")
    given = parser.parse_args()
    torch.set_num_threads(1)
    trainer = Trainer(Settings(out=given.out, seed=given.seed))
    given.out.mkdir(parents=True, exist_ok=True)
    if trainer.path.exists():
        trainer.load(trainer.path)
    while trainer.stage_index < given.until:
        (run_stage if trainer.stage_index < len(STAGES) else play)(trainer)
        finish_stage(trainer)


if __name__ == "__main__":
    main()
