"""Exported files under real `datasets` and TRL: they load, pass TRL's own checks, and train the right way.

No network: the model is a Llama of a few thousand random weights and the tokenizer is made here.
"""

import json
import math

import pytest

REASON = "needs TRL: pip install 'trl>=1' datasets pyarrow torch"
trl = pytest.importorskip("trl", reason=REASON)
datasets = pytest.importorskip("datasets", reason=REASON)
pytest.importorskip("torch", reason=REASON)

from critic_loop.core.messages import Image, Message, ToolCall, ToolResult, assistant, user  # noqa: E402
from critic_loop.core.protocols import ToolSpec  # noqa: E402
from critic_loop.core.records import Task, Verdict  # noqa: E402
from critic_loop.export import export  # noqa: E402
from critic_loop.testing.trees import ALL, image_tree  # noqa: E402
from tests.unit.export.grow import add, choose, judge, tree_of  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # warnings of TRL and transformers

TEMPLATE = (
    "{% if tools %}tools: {{ tools | tojson }}\n{% endif %}"
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}"
    "{% for call in message.tool_calls or [] %}call {{ call.function.name }}"
    "{% for name, value in call.function.arguments.items() %} {{ name }}={{ value | tojson }}{% endfor %}"
    "{% endfor %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    specials = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"]
    made = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate([*specials, *alphabet])}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(specials)
    fast = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|end|>", pad_token="<|pad|>")
    fast.chat_template = TEMPLATE
    return fast


@pytest.fixture
def model(tokenizer, tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM, set_seed

    set_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "model")
    return LlamaForCausalLM.from_pretrained(tmp_path / "model")  # trainers load their reference from there


def text_trees():
    return [make() for name, make in ALL.items() if name != "image"]


SUM = ToolSpec(
    name="add",
    description="Adds numbers.",
    parameters={"type": "object", "properties": {"numbers": {"type": "array", "items": {"type": "integer"}}}},
)
ECHO = ToolSpec(name="echo", parameters={"type": "object", "properties": {"text": {"type": "string"}}})


def tool_trees():
    """Return trees whose tool calls have different arguments: Arrow would add the missing keys."""
    made = []
    for number, (spec, arguments) in enumerate([(SUM, {"numbers": [3, 4]}), (ECHO, {"text": "7"}), (ECHO, {})]):
        asked = assistant(ToolCall(id="1", name=spec.name, arguments=arguments), sampled=True)
        heard = Message(role="tool", parts=(ToolResult.of("7", call_id="1", name=spec.name),))
        tree = tree_of(name=f"tools-{number}", task=Task(prompt=(user(f"What is it, {number}?"),)))
        add(tree, [asked, heard, assistant(f"It is 7 ({number}).", sampled=True)])
        add(tree, "I do not know.")
        judge(tree, 1, Verdict.PASS)
        judge(tree, 2, Verdict.FAIL)
        made.append(choose(tree, 1))
    return made


def load(folder, suffix):
    """Load one split of an export as a user would, into a cache of its own."""
    kind = "json" if suffix == "jsonl" else "parquet"
    cache = str(folder / f"cache-{suffix}")
    return datasets.load_dataset(
        kind, data_files=str(folder / "data" / f"train.{suffix}"), split="train", cache_dir=cache
    )


def written(folder):
    return [
        json.loads(line) for line in (folder / "data" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    ]


CASES = [
    ("sft", {}),
    ("sft", {"only": "all", "columns": "prompt_completion"}),
    ("preference", {}),
    ("critique_sft", {}),
]


@pytest.mark.parametrize(
    ("to", "settings"), CASES, ids=["sft", "prompt_completion", "preference", "critique_sft"]
)
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_text_rows_load_unchanged_and_are_conversational(tmp_path, tokenizer, to, settings, suffix):
    from trl.data_utils import apply_chat_template, is_conversational

    export(text_trees(), to, tmp_path, format="both", settings=settings)
    dataset = load(tmp_path, suffix)
    rows = written(tmp_path)
    assert list(dataset) == rows
    for row in dataset:
        assert is_conversational(row)
        rendered = apply_chat_template(row, tokenizer)
        assert all(rendered.values())
    last = rows[0].get("messages") or rows[0].get("chosen") or rows[0].get("completion")
    first = apply_chat_template(dataset[0], tokenizer)
    assert f"<|assistant|>{last[-1]['content']}<|end|>" in "<|assistant|>" + "".join(first.values())


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@pytest.mark.parametrize("to", ["sft", "preference"])
def test_tool_arguments_get_no_additional_keys(tmp_path, tokenizer, to, suffix):
    from trl.data_utils import apply_chat_template

    export(tool_trees(), to, tmp_path, format="both", settings={"tools": [SUM, ECHO]})
    dataset = load(tmp_path, suffix)
    assert list(dataset) == written(tmp_path)
    rendered = ["".join(apply_chat_template(row, tokenizer, tools=row["tools"]).values()) for row in dataset]
    assert "call add numbers=[3, 4]<|end|>" in rendered[0]
    assert 'call echo text="7"<|end|>' in rendered[1]
    assert "call echo<|end|>" in rendered[2]


def test_a_whole_export_loads_by_its_card(tmp_path):
    export(text_trees(), "preference", tmp_path / "out", format="both", split={"train": 0.7, "test": 0.3})
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(split) for name, split in loaded.items()} == json.loads(
        (tmp_path / "out" / "manifest.json").read_text()
    )["rows"]


def test_pictures_are_loaded_as_pictures_and_keep_their_places(tmp_path):
    pytest.importorskip("PIL", reason="needs Pillow")
    from trl.data_utils import prepare_multimodal_messages

    export([image_tree()], "sft", tmp_path, format="parquet", settings={"verified": False})
    (row,) = load(tmp_path, "parquet")
    (picture,) = row["images"]
    assert picture.size == (2, 2)
    assert picture.convert("RGB").getpixel((0, 0)) == (255, 0, 0)
    prepared = prepare_multimodal_messages(row["messages"], images=row["images"])
    places = [part["image"] for turn in prepared for part in turn["content"] if part["type"] == "image"]
    assert places == [picture]
    assert isinstance(image_tree().task.prompt[0].parts[1], Image)


def trainer_settings(folder):
    return {
        "output_dir": str(folder / "trained"),
        "max_steps": 2,
        "per_device_train_batch_size": 2,
        "max_length": 512,
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "learning_rate": 0.01,
    }


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("to", "settings", "trees"),
    [
        ("sft", {}, text_trees),
        ("sft", {"only": "passed", "columns": "prompt_completion"}, text_trees),
        ("sft", {"tools": [SUM, ECHO]}, tool_trees),
        ("critique_sft", {}, text_trees),
    ],
    ids=["messages", "prompt_completion", "tools", "critiques"],
)
def test_sft_trains(tmp_path, model, tokenizer, to, settings, trees, suffix):
    export(trees(), to, tmp_path, format="both", settings=settings)
    trainer = trl.SFTTrainer(
        model=model,
        args=trl.SFTConfig(**trainer_settings(tmp_path)),
        train_dataset=load(tmp_path, suffix),
        processing_class=tokenizer,
    )
    assert_trains(trainer, model)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("settings", "trees"), [({}, text_trees), ({"tools": [SUM, ECHO]}, tool_trees)], ids=["text", "tools"]
)
def test_dpo_trains(tmp_path, model, tokenizer, settings, trees, suffix):
    export(trees(), "preference", tmp_path, format="both", settings=settings)
    trainer = trl.DPOTrainer(
        model=model,
        args=trl.DPOConfig(**trainer_settings(tmp_path)),
        train_dataset=load(tmp_path, suffix),
        processing_class=tokenizer,
    )
    assert_trains(trainer, model)


def assert_trains(trainer, model):
    """Two steps change the weights, and the loss is a number."""
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    result = trainer.train()
    assert result.global_step == 2
    assert math.isfinite(result.training_loss)
    assert result.training_loss > 0
    assert any(not weight.equal(before[name]) for name, weight in model.named_parameters())


# -- what is learnt ----------------------------------------------------------------------------


def sum_trees():
    """Return trees with an answer that passed and one that failed, in either order."""
    made = []
    for number in range(4):
        texts = ["yes", "no"] if number % 2 else ["no", "yes"]
        tree = tree_of(
            *texts, name=f"sum-{number}", task=Task(prompt=(user(f"Is {number} + 1 = {number + 1}?"),))
        )
        for place, text in enumerate(texts, start=1):
            judge(tree, place, Verdict.PASS if text == "yes" else Verdict.FAIL)
        made.append(choose(tree, 1 + texts.index("yes")))
    return made


def log_probability(model, tokenizer, tree, text):
    """Return the log-probability of `text` as the answer to the task of `tree`, in nats."""
    import torch

    asked = [{"role": message.role, "content": message.text} for message in tree.task.prompt]
    prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
    answer = tokenizer.encode(f"{text}<|end|>", add_special_tokens=False)
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
    return float(logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None]).sum())


def preferences(model, tokenizer):
    """Return for each tree by how many nats the answer that passed is likelier than the one that failed."""
    return [
        log_probability(model, tokenizer, tree, "yes") - log_probability(model, tokenizer, tree, "no")
        for tree in sum_trees()
    ]


@pytest.mark.parametrize("to", ["preference", "sft"])
def test_a_model_trained_on_the_rows_comes_to_prefer_what_passed(tmp_path, model, tokenizer, to):
    """What passed is read from the verdicts, not from the columns of the export."""
    export(sum_trees(), to, tmp_path)
    trainer_of, config_of = {
        "preference": (trl.DPOTrainer, trl.DPOConfig),
        "sft": (trl.SFTTrainer, trl.SFTConfig),
    }[to]
    trainer = trainer_of(
        model=model,
        args=config_of(**trainer_settings(tmp_path) | {"max_steps": 4}),
        train_dataset=load(tmp_path, "jsonl"),
        processing_class=tokenizer,
    )
    before = preferences(model, tokenizer)
    trainer.train()
    gains = [after - first for after, first in zip(preferences(model, tokenizer), before, strict=True)]
    assert min(gains) > 1.0, f"log-probability of passed over failed, in nats, rose by {gains}"
