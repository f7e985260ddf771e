"""The demo's model as a Hugging Face folder, read by transformers: same prompts, same greedy tokens."""

from __future__ import annotations

import itertools

import pytest

REASON = "needs transformers and onnx: pip install transformers torch onnx safetensors onnxruntime"
torch = pytest.importorskip("torch", reason=REASON)
transformers = pytest.importorskip("transformers", reason=REASON)
for name in ("onnx", "safetensors", "onnxruntime"):
    pytest.importorskip(name, reason=REASON)

from critic_loop.core.messages import Message  # noqa: E402
from critic_loop.demo import layout  # noqa: E402
from critic_loop.demo.chars import END_ID, decode, encode  # noqa: E402
from critic_loop.demo.chat import chat_prompt  # noqa: E402
from critic_loop.demo.engine import LOGIT_STEP  # noqa: E402
from tests.real.conversations import NEW_TOKENS, cases, samples  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # warnings of transformers


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


def test_the_chat_template_writes_the_embedded_models_prompts(tokenizer):
    for prompt, messages in cases():
        assert chat_prompt(messages) == prompt
        found = tokenizer.apply_chat_template(as_json(messages), return_dict=False)
        assert found == encode(prompt)
        again = tokenizer.apply_chat_template(as_json(messages), add_generation_prompt=True, return_dict=False)
        assert again == found


def test_a_messages_content_may_be_a_list_of_parts_or_missing(tokenizer):
    parts = [{"type": "text", "text": "Countdown 24: "}, {"type": "text", "text": "3 5 7 8"}]
    said = [{"role": "user", "content": parts}, {"role": "assistant", "content": None}]
    turn = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
    assert turn == "<revise>24:3,5,7,8!\n"
    begun = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=False)
    assert begun == "<draft>24:3,5,7,8\n", "an empty answer is continued, not rejected"


def test_a_conversation_without_a_puzzle_is_refused(tokenizer):
    with pytest.raises(Exception, match="no user message holds a puzzle"):
        tokenizer.apply_chat_template([{"role": "user", "content": "What is love?"}])


def test_the_tokenizer_encodes_and_decodes_as_the_embedded_one(tokenizer):
    for prompt, _ in cases():
        ids = tokenizer.encode(prompt, add_special_tokens=False)
        assert ids == encode(prompt)
        assert tokenizer.decode(ids) == decode(ids) == prompt
    assert tokenizer.decode([END_ID, 0], skip_special_tokens=True) == ""
    for foreign in ("hello", "24 ", "²"):
        with pytest.raises(Exception, match="UNK"):
            tokenizer.encode(foreign)


def logprobs_of(network, prompt: str, written: tuple[int, ...]) -> list[float]:
    """Return the log-probability of each token of an answer, as transformers computes it."""
    ids = encode(prompt)
    with torch.no_grad():
        logits = network(torch.tensor([[*ids, *written]])).logits[0, len(ids) - 1 : -1]
    return logits.float().log_softmax(-1).gather(1, torch.tensor(written)[:, None])[:, 0].tolist()


def furthest_apart(network, prompts: list[str], ours) -> float:
    """Return the largest difference from the log-probabilities of the embedded model."""
    return max(
        abs(mine - other)
        for prompt, sample in zip(prompts, ours, strict=True)
        for mine, other in zip(sample.logprobs, logprobs_of(network, prompt, sample.token_ids), strict=True)
    )


def test_weights_are_stored_in_half_precision_and_computed_with_in_single(folder, network):
    """transformers with float32 agrees to the rounding of logits; with float16 it does not."""
    prompts = [prompt for prompt, _ in cases()][:90]
    ours = samples(prompts)
    half = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float16).eval()
    stored = layout.read(layout.bundled_weights()).tensors.values()
    assert {str(weight.dtype) for weight in stored} == {"float16"}
    with_single, with_half = (furthest_apart(one, prompts, ours) for one in (network, half))
    assert with_single < 2 * LOGIT_STEP < with_half


def theirs(network, prompts: list[str]) -> list[tuple[int, ...]]:
    """Return greedy tokens of transformers; only prompts of the same length share a batch: no padding."""
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
    """The embedded model rounds logits to `LOGIT_STEP`: two tokens that close may be in another order."""
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
