"""The Hugging Face folder of the small model under real transformers: same prompts, same greedy tokens."""

from __future__ import annotations

import itertools

import pytest

REASON = "needs transformers and onnx: pip install transformers torch onnx safetensors onnxruntime"
torch = pytest.importorskip("torch", reason=REASON)
transformers = pytest.importorskip("transformers", reason=REASON)
onnx = pytest.importorskip("onnx", reason=REASON)
for name in ("safetensors", "onnxruntime"):
    pytest.importorskip(name, reason=REASON)

from critic_loop.core.messages import Message  # noqa: E402
from critic_loop.demo import layout  # noqa: E402
from critic_loop.demo.chars import END_ID, decode, encode  # noqa: E402
from critic_loop.demo.chat import chat_prompt  # noqa: E402
from critic_loop.demo.engine import LOGIT_STEP  # noqa: E402
from tests.real.conversations import NEW_TOKENS, cases, samples  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # theirs, not ours


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("hf")
    assert layout.main(["--to", "hf", str(made)]) == 0
    return made


@pytest.fixture(scope="module")
def tokenizer(folder):
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def network(folder):
    torch.set_num_threads(1)
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def as_json(messages: tuple[Message, ...]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.text} for message in messages]


def test_a_conversation_is_the_same_prompt_everywhere(tokenizer):
    for prompt, messages in cases():
        assert chat_prompt(messages) == prompt
        found = tokenizer.apply_chat_template(as_json(messages), return_dict=False)
        assert found == encode(prompt)
        again = tokenizer.apply_chat_template(as_json(messages), add_generation_prompt=True, return_dict=False)
        assert again == found


def test_content_may_come_in_parts_or_not_at_all(tokenizer):
    parts = [{"type": "text", "text": "Countdown 24: "}, {"type": "text", "text": "3 5 7 8"}]
    said = [{"role": "user", "content": parts}, {"role": "assistant", "content": None}]
    turn = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
    assert turn == "<revise>24:3,5,7,8!\n"
    begun = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=False)
    assert begun == "<draft>24:3,5,7,8\n", "an empty beginning is gone on with: nothing was rejected yet"


def test_a_conversation_without_a_puzzle_is_refused(tokenizer):
    with pytest.raises(Exception, match="no user message holds a puzzle"):
        tokenizer.apply_chat_template([{"role": "user", "content": "What is love?"}])


def test_text_is_cut_and_joined_as_here(tokenizer):
    for prompt, _ in cases():
        ids = tokenizer.encode(prompt, add_special_tokens=False)
        assert ids == encode(prompt)
        assert tokenizer.decode(ids) == decode(ids) == prompt
    assert tokenizer.decode([END_ID, 0], skip_special_tokens=True) == ""
    for foreign in ("hello", "24 ", "²"):
        with pytest.raises(Exception, match="UNK"):
            tokenizer.encode(foreign)


def widened(graph: bytes) -> bytes:
    """The same graph with its weights stored in float32, and no node that widens them."""
    model = onnx.load_from_string(graph)
    stored = [onnx.numpy_helper.to_array(one) for one in model.graph.initializer]
    names = [one.name for one in model.graph.initializer]
    casts = {node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "Cast"}
    assert set(casts) == {name for name, a in zip(names, stored, strict=True) if a.dtype == "float16"}
    del model.graph.initializer[:]
    for name, array in zip(names, stored, strict=True):
        wide = array.astype("float32") if name in casts else array
        model.graph.initializer.append(onnx.numpy_helper.from_array(wide, casts.get(name, name)))
    kept = [node for node in model.graph.node if node.op_type != "Cast"]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model.SerializeToString()


def test_half_precision_is_only_how_the_weights_are_stored(tmp_path):
    wide = tmp_path / "wide.onnx"
    wide.write_bytes(widened(layout.bundled_weights()))
    prompts = [prompt for prompt, _ in cases()][:90]
    assert samples(prompts, wide) == samples(prompts)


def theirs(network, prompts: list[str]) -> list[tuple[int, ...]]:
    """Greedy tokens of transformers; prompts of one length share a batch, so that nothing is padded."""
    found: dict[str, tuple[int, ...]] = {}
    by_length: dict[int, list[str]] = {}
    for prompt in prompts:
        by_length.setdefault(len(encode(prompt)), []).append(prompt)
    for length, group in by_length.items():
        limit = min(NEW_TOKENS, network.config.max_position_embeddings - length)
        with torch.no_grad():
            out = network.generate(
                torch.tensor([encode(p) for p in group]), max_new_tokens=limit, do_sample=False
            )
        for prompt, row in zip(group, out[:, length:].tolist(), strict=True):
            found[prompt] = tuple(row[: row.index(END_ID) + 1] if END_ID in row else row)
    return [found[prompt] for prompt in prompts]


def gap_at_first_difference(network, prompt: str, one: tuple[int, ...], other: tuple[int, ...]) -> float:
    same = next(k for k, pair in enumerate(itertools.zip_longest(one, other)) if pair[0] != pair[1])
    with torch.no_grad():
        logits = network(torch.tensor([encode(prompt) + list(one[:same])])).logits[0, -1]
    return abs(float(logits[one[same]] - logits[other[same]]))


def test_greedy_tokens_are_the_same(network):
    """ONNX Runtime's logits are rounded to steps of `LOGIT_STEP` here, so two that close may change places."""
    prompts = list(dict.fromkeys(prompt for prompt, _ in cases()))
    assert len(prompts) >= 500
    ours = [sample.token_ids for sample in samples(prompts)]
    pairs = list(zip(prompts, ours, theirs(network, prompts), strict=True))
    differing = [
        (prompt, gap_at_first_difference(network, prompt, mine, other))
        for prompt, mine, other in pairs
        if mine != other
    ]
    assert [pair for pair in differing if pair[1] > LOGIT_STEP] == []
    assert len(differing) <= len(prompts) // 100, differing
