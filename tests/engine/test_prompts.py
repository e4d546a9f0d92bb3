"""What the UNet attends to: plain prompts as in diffusers, weights, any length, layers left out."""

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

from generation.engine import EngineSettings
from generation.engine.loading import load_checkpoint
from generation.engine.prompts import MAX_CHUNKS, PromptEncoder, chunks

pytestmark = pytest.mark.usefixtures("without_gradients")

LONG = "a cat, " * 40  # 160 tokens and more


@pytest.fixture
def without_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def checkpoint(tiny):
    return load_checkpoint(EngineSettings(model=str(tiny), dtype="float32"))


@pytest.fixture(scope="module")
def checkpoint_xl(tiny_xl):
    return load_checkpoint(EngineSettings(model=str(tiny_xl), dtype="float32"))


@pytest.fixture
def encoder(checkpoint) -> PromptEncoder:
    return PromptEncoder(checkpoint)


def test_it_encodes_a_plain_prompt_as_diffusers_does(encoder, tiny):
    pipeline = StableDiffusionPipeline.from_pretrained(tiny)
    expected, expected_negative = pipeline.encode_prompt("a cat", "cpu", 1, True, negative_prompt="rain")

    conditional, unconditional = encoder.encode_pair("a cat", "rain")

    assert torch.equal(conditional.prompt_embeds, expected)
    assert torch.equal(unconditional.prompt_embeds, expected_negative)


def test_it_encodes_a_plain_prompt_as_diffusers_does_for_xl(checkpoint_xl, tiny_xl):
    pipeline = StableDiffusionXLPipeline.from_pretrained(tiny_xl)
    expected = pipeline.encode_prompt("a cat", negative_prompt="rain")

    conditional, unconditional = PromptEncoder(checkpoint_xl).encode_pair("a cat", "rain")

    found = (
        conditional.prompt_embeds,
        unconditional.prompt_embeds,
        conditional.pooled_prompt_embeds,
        unconditional.pooled_prompt_embeds,
    )
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_it_leaves_layers_out_as_diffusers_does_for_xl(checkpoint_xl, tiny_xl):
    expected = StableDiffusionXLPipeline.from_pretrained(tiny_xl).encode_prompt("a cat", clip_skip=1)

    conditional = PromptEncoder(checkpoint_xl).encode("a cat", clip_skip=1)

    assert torch.equal(conditional.prompt_embeds, expected[0])


def test_it_leaves_layers_out_before_the_last_norm(encoder, checkpoint):
    text_encoder, tokenizer = checkpoint.text_encoders[0], checkpoint.tokenizers[0]
    ids = tokenizer("a cat", padding="max_length", return_tensors="pt").input_ids
    hidden = text_encoder(ids, output_hidden_states=True).hidden_states[-2]

    conditional = encoder.encode("a cat", clip_skip=1)

    assert torch.equal(conditional.prompt_embeds, text_encoder.final_layer_norm(hidden))


def test_it_leaves_out_no_more_layers_than_there_are(encoder):
    all_of_them = encoder.encode("a cat", clip_skip=3).prompt_embeds

    assert torch.equal(encoder.encode("a cat", clip_skip=100).prompt_embeds, all_of_them)


def test_it_encodes_a_long_prompt_chunk_by_chunk(encoder, checkpoint):
    first, *rest = chunks(checkpoint.tokenizers[0], LONG)

    conditional, unconditional = encoder.encode_pair(LONG, "rain")

    assert len(first) == 75
    assert conditional.prompt_embeds.shape == unconditional.prompt_embeds.shape == (1, 77 * (1 + len(rest)), 32)
    assert torch.equal(unconditional.prompt_embeds[:, :77], encoder.encode("rain").prompt_embeds)
    assert torch.equal(unconditional.prompt_embeds[:, 77:154], encoder.encode("").prompt_embeds)


def test_it_lets_no_token_of_a_long_prompt_go(checkpoint):
    tokenizer = checkpoint.tokenizers[0]

    ids = [token for chunk in chunks(tokenizer, LONG) for token, _ in chunk]

    assert ids == tokenizer(LONG, add_special_tokens=False).input_ids


def test_it_starts_a_chunk_at_break(encoder):
    conditional = encoder.encode("a cat BREAK a dog")

    parts = [encoder.encode("a cat").prompt_embeds, encoder.encode("a dog").prompt_embeds]
    assert torch.allclose(conditional.prompt_embeds, torch.cat(parts, dim=1), atol=1e-5)


def test_it_bounds_the_chunks_of_one_prompt(checkpoint):
    assert len(chunks(checkpoint.tokenizers[0], "a BREAK " * 200)) == MAX_CHUNKS


@pytest.mark.parametrize(
    "prompt", ["", " ", "\x01", "é", "\U0001f600", "日本", "<|endoftext|>", "(", "()", "BREAK", "\\"]
)
def test_it_encodes_any_prompt(encoder, prompt):
    assert encoder.encode(prompt).prompt_embeds.isfinite().all()


def test_it_multiplies_the_embeddings_of_weighted_words_and_keeps_the_mean(checkpoint):
    # A norm without a bias would leave a mean of zero, which can't be kept.
    checkpoint.text_encoders[0].final_layer_norm.bias.data.fill_(0.5)
    plain = PromptEncoder(checkpoint).encode("a red cat").prompt_embeds
    prefix = len(checkpoint.tokenizers[0]("a", add_special_tokens=False).input_ids)
    word = slice(1 + prefix, 1 + prefix + len(checkpoint.tokenizers[0]("red", add_special_tokens=False).input_ids))

    weighted = PromptEncoder(checkpoint).encode("a (red:1.5) cat").prompt_embeds

    checkpoint.text_encoders[0].final_layer_norm.bias.data.zero_()
    ratio = weighted / plain
    assert torch.allclose(weighted.mean(), plain.mean(), atol=1e-5)
    assert torch.allclose(ratio[:, word] / ratio[:, :1].mean(), torch.tensor(1.5), atol=1e-3)


def test_it_encodes_a_weight_of_one_like_no_weight(encoder):
    assert torch.equal(encoder.encode("a (red:1) cat").prompt_embeds, encoder.encode("a red cat").prompt_embeds)


def test_it_gives_zeros_for_an_empty_negative_prompt_to_xl(checkpoint_xl):
    _, unconditional = PromptEncoder(checkpoint_xl).encode_pair("a cat", "")

    assert not unconditional.prompt_embeds.any()
    assert not unconditional.pooled_prompt_embeds.any()
