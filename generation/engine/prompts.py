"""From prompt text to what the UNet attends to: weighted, of any length, from one or two text encoders."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from transformers import CLIPTokenizer

from generation.engine.emphasis import parse
from generation.engine.loading import Checkpoint

KEPT_PROMPTS = 128  # negative prompts above all, which many share
MAX_CHUNKS = 32  # of 75 tokens; bounds the memory that one prompt can take

Chunk = tuple[tuple[int, float], ...]
"""At most 75 pairs of token id and weight."""


@dataclass(frozen=True)
class Conditioning:
    """A prompt as the UNet takes it."""

    prompt_embeds: torch.Tensor  # (1, chunks * 77, D)
    pooled_prompt_embeds: torch.Tensor | None  # (1, P), XL only


class PromptEncoder:
    """Encodes prompts with the text encoders of one checkpoint."""

    def __init__(self, checkpoint: Checkpoint):
        self._checkpoint = checkpoint
        self._condition = lru_cache(KEPT_PROMPTS)(self._condition_anew)  # for as long as this encoder lives

    def encode(self, prompt: str, clip_skip: int = 0) -> Conditioning:
        """Encode a prompt alone, to as many chunks as it takes."""
        return self._encode([prompt], clip_skip)[0]

    def encode_pair(self, prompt: str, negative_prompt: str, clip_skip: int = 0) -> tuple[Conditioning, Conditioning]:
        """Encode a prompt and its negative to the same number of chunks."""
        conditional, unconditional = self._encode([prompt, negative_prompt], clip_skip)
        if self._checkpoint.is_xl and self._checkpoint.zeros_for_empty_prompt and not negative_prompt:
            unconditional = Conditioning(
                torch.zeros_like(conditional.prompt_embeds), torch.zeros_like(conditional.pooled_prompt_embeds)
            )
        return conditional, unconditional

    def _encode(self, prompts: list[str], clip_skip: int) -> list[Conditioning]:
        chunked = [tuple(tuple(chunks(each, prompt)) for each in self._checkpoint.tokenizers) for prompt in prompts]
        count = max(len(of_tokenizer) for of_prompt in chunked for of_tokenizer in of_prompt)
        return [self._condition(of_prompt, count, clip_skip) for of_prompt in chunked]

    def _condition_anew(self, chunked: tuple[tuple[Chunk, ...], ...], count: int, clip_skip: int) -> Conditioning:
        """Return the conditioning of a prompt, cut to chunks by each tokenizer, as `count` chunks."""
        embeds, pooled = [], None
        for number, of_tokenizer in enumerate(chunked):
            padded = [*of_tokenizer, *[()] * (count - len(of_tokenizer))]
            embed, pooled = self._embed(number, padded, clip_skip)
            embeds.append(embed)
        return Conditioning(torch.cat(embeds, dim=-1), pooled if self._checkpoint.is_xl else None)

    def _embed(self, number: int, chunks: list[Chunk], clip_skip: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the embeddings of the chunks in a row, (1, chunks * 77, D), and the pooled first one, (1, P)."""
        tokenizer, text_encoder = self._checkpoint.tokenizers[number], self._checkpoint.text_encoders[number]
        ids = torch.tensor([_token_ids(tokenizer, chunk) for chunk in chunks], device=self._checkpoint.device)
        output = text_encoder(ids, output_hidden_states=True)
        # XL reads the last layer but one. Source: diffusers StableDiffusionXLPipeline.encode_prompt
        skipped = clip_skip + self._checkpoint.is_xl
        hidden = output.hidden_states[-1 - min(skipped, len(output.hidden_states) - 1)]
        if not self._checkpoint.is_xl:
            hidden = getattr(text_encoder, "text_model", text_encoder).final_layer_norm(hidden)
        hidden = _emphasize(hidden, chunks)
        pooled = getattr(output, "text_embeds", None)
        return hidden.reshape(1, -1, hidden.shape[-1]), None if pooled is None else pooled[:1]


def chunks(tokenizer: CLIPTokenizer, prompt: str) -> list[Chunk]:
    """Split a prompt into chunks that fit the text encoder, at every `BREAK` and wherever one is full; at least one."""
    size = tokenizer.model_max_length - 2
    found: list[Chunk] = []
    for section in parse(prompt):
        tokens = [
            (token, span.weight)
            for span in section
            for token in tokenizer(span.text, add_special_tokens=False, verbose=False).input_ids
        ]
        found += [tuple(tokens[start : start + size]) for start in range(0, len(tokens), size)]
    return found[:MAX_CHUNKS] or [()]


def _token_ids(tokenizer: CLIPTokenizer, chunk: Chunk) -> list[int]:
    ids = [tokenizer.bos_token_id, *(token for token, _ in chunk), tokenizer.eos_token_id]
    return ids + [tokenizer.pad_token_id] * (tokenizer.model_max_length - len(ids))


def _emphasize(hidden: torch.Tensor, chunks: list[Chunk]) -> torch.Tensor:
    """Multiply each token's embedding by its weight and bring the mean of each chunk back; hidden is (chunks, 77, D).

    Source: the emphasis of the AUTOMATIC1111 web UI.
    """
    if all(weight == 1 for chunk in chunks for _, weight in chunk):
        return hidden
    weights = torch.ones(hidden.shape[:2])
    for row, chunk in enumerate(chunks):
        weights[row, 1 : len(chunk) + 1] = torch.tensor([weight for _, weight in chunk])
    weighted = hidden.float() * weights[..., None].to(hidden.device)
    ratio = hidden.float().mean((1, 2), keepdim=True) / weighted.mean((1, 2), keepdim=True)
    # A mean next to zero says nothing, and its ratio would blow the embeddings up.
    ratio = torch.where((ratio > 0.1) & (ratio < 10), ratio, torch.ones_like(ratio))
    return (weighted * ratio).to(hidden.dtype)
