"""A small GPT: a transformer that learns to write as Newton did.

Text is cut into pieces by byte-pair encoding, learned from the text itself; positions are rotations of the queries and
keys; generation keeps the keys and values of what has been read, so that a new piece costs one step.

    python examples/transformer_lm.py
    python examples/transformer_lm.py --text mybook.txt --prompt "It was"
    python examples/transformer_lm.py --resume runs/transformer_lm/checkpoint.pt --prompt "Is not" --top-k 10
"""

from __future__ import annotations

import argparse
import math
import re
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

from tqdm import tqdm

import flambeau
from flambeau import Tensor, nn
from flambeau.nn import functional as F
from flambeau.utils.data import DataLoader, TensorDataset

OPTICKS = Path(__file__).parent / "data" / "opticks.txt"


class BytePairs:
    """Byte-pair encoding (Sennrich, Haddow and Birch, 2016): the most frequent neighbours become one, again and again.

    Args:
        text: what to learn the pieces from.
        size: how many pieces there will be; the 256 bytes are the first.
    """

    def __init__(self, text: str, size: int):
        self.pieces = [bytes([value]) for value in range(256)]
        self.rank: dict[tuple[bytes, bytes], int] = {}
        words = {word: [bytes([value]) for value in word.encode()] for word in self._words(text)}
        frequency = Counter(self._words(text))
        pairs: Counter[tuple[bytes, bytes]] = Counter()
        for word, parts in words.items():
            for pair in pairwise(parts):
                pairs[pair] += frequency[word]
        while len(self.pieces) < size and pairs:
            best = max(pairs, key=lambda pair: (pairs[pair], pair))
            self.rank[best] = len(self.pieces)
            self.pieces.append(best[0] + best[1])
            for word, parts in words.items():
                if best in pairwise(parts):
                    pairs.subtract({pair: n * frequency[word] for pair, n in Counter(pairwise(parts)).items()})
                    words[word] = merged = self._merge(parts, best)
                    pairs.update({pair: n * frequency[word] for pair, n in Counter(pairwise(merged)).items()})
            pairs += Counter()  # drops what does not occur any more
        self.number = {piece: number for number, piece in enumerate(self.pieces)}
        self._known = {word: [self.number[part] for part in parts] for word, parts in words.items()}

    @staticmethod
    def _words(text: str) -> list[str]:
        return re.findall(r"\s?\w+|\s?[^\w\s]+|\s+", text)

    @staticmethod
    def _merge(parts: list[bytes], pair: tuple[bytes, bytes]) -> list[bytes]:
        merged: list[bytes] = []
        for part in parts:
            if merged and (merged[-1], part) == pair:
                merged[-1] += part
            else:
                merged.append(part)
        return merged

    def encode(self, text: str) -> list[int]:
        return [number for word in self._words(text) for number in self._encode_word(word)]

    def _encode_word(self, word: str) -> list[int]:
        if word not in self._known:
            parts = [bytes([value]) for value in word.encode()]
            while pairs := [pair for pair in pairwise(parts) if pair in self.rank]:
                parts = self._merge(parts, min(pairs, key=self.rank.__getitem__))
            self._known[word] = [self.number[part] for part in parts]
        return self._known[word]

    def decode(self, numbers: list[int]) -> str:
        return b"".join(self.pieces[number] for number in numbers).decode(errors="replace")


class Attention(nn.Module):
    """Causal self-attention with rotary positions (Su et al., 2021): (N, T, width) -> (N, T, width)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    def forward(self, x, rotation, cache: dict | None = None):
        split = self.qkv(x).unflatten(2, (3, self.heads, -1))  # (N, T, 3, heads, width of a head)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        query, key = rotate(query, rotation), rotate(key, rotation)
        if cache is not None:
            if "key" in cache:
                key = flambeau.cat([cache["key"], key], dim=2)
                value = flambeau.cat([cache["value"], value], dim=2)
            cache["key"], cache["value"] = key, value
        # A single query is the last position: it may look at everything.
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=x.shape[1] > 1)
        return self.output(mixed.transpose(1, 2).flatten(2))


def rotate(x, rotation):
    """Turn each pair of features (x[i], x[i + half]) by the angle of its position."""
    cosine, sine = rotation
    first, second = x.chunk(2, dim=-1)
    return flambeau.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


class Block(nn.Module):
    """Attention and a two-layer network, each added to what came in."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, rotation, cache=None):
        x = x + self.dropout(self.attention(self.norm1(x), rotation, cache))
        return x + self.dropout(self.mlp(self.norm2(x)))


class Transformer(nn.Module):
    """Numbers of pieces (N, T) -> logits of the piece after each (N, T, vocabulary)."""

    def __init__(self, vocabulary: int, width: int = 128, layers: int = 4, heads: int = 4, dropout: float = 0.2):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, vocabulary, bias=False)
        self.output.weight = self.embedding.weight
        nn.init.normal_(self.embedding.weight, std=0.02)
        half = width // heads // 2
        self.register_buffer("frequencies", 10000.0 ** (-flambeau.arange(half) / half), persistent=False)

    def forward(self, pieces, caches: list[dict] | None = None, start: int = 0):
        """``caches`` has a dict a block, empty at first; ``start`` is the position of the first of these pieces."""
        positions = flambeau.arange(start, start + pieces.shape[1], device=pieces.device)
        angles = positions[:, None] * self.frequencies
        rotation = angles.cos(), angles.sin()
        x = self.embedding(pieces)
        for block, cache in zip(self.blocks, caches or [None] * len(self.blocks)):
            x = block(x, rotation, cache)
        return self.output(self.norm(x))


def train(model, batches, optimizer, schedule=None) -> float:
    """One epoch over batches (N, T + 1); returns the mean loss."""
    model.train()
    losses = []
    for (pieces,) in batches:
        loss = F.cross_entropy(model(pieces[:, :-1]).flatten(0, 1), pieces[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if schedule is not None:
            schedule.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


@flambeau.no_grad()
def evaluate(model, batches) -> float:
    """The mean loss a piece."""
    model.eval()
    losses = [F.cross_entropy(model(pieces[:, :-1]).flatten(0, 1), pieces[:, 1:].flatten()) for (pieces,) in batches]
    return flambeau.stack(losses).mean().item()


@flambeau.no_grad()
def write(model, prompt: Tensor, length: int, temperature: float = 1.0, top_k: int = 0, context: int = 64) -> list[int]:
    """Go on after a prompt (T,): each piece is drawn from the ``top_k`` likeliest (0: from all).

    No piece looks further back than ``context`` pieces, itself included, as in training.
    """
    model.eval()
    written: list[int] = []
    caches: list[dict] = [{} for _ in model.blocks]
    pieces, start = prompt[None], 0
    for _ in range(length):
        logits = model(pieces, caches, start)[0, -1] / temperature
        if top_k:
            logits[logits < logits.topk(min(top_k, len(logits))).values[-1]] = -math.inf
        start += pieces.shape[1]
        for cache in caches:
            for name, past in cache.items():
                cache[name] = past[:, :, -(context - 1) :]
        pieces = flambeau.multinomial(logits.softmax(dim=0), 1)[None]
        written.append(pieces.item())
    return written


def cut(numbers: list[int], length: int, device) -> TensorDataset:
    """Pieces of the text, one after another, each with the first number of the next."""
    count = (len(numbers) - 1) // length
    text = flambeau.tensor(numbers, device=device)
    return TensorDataset(text[: count * length + 1].unfold(0, length + 1, length))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--text", type=Path, default=OPTICKS, help="what to learn from (default: Newton's Opticks)")
    parser.add_argument("--vocabulary", type=int, default=512, help="number of different pieces of text")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--context", type=int, default=64, help="pieces that it sees at once in training")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--prompt", default="The Rays of Light")
    parser.add_argument("--length", type=int, default=150, help="pieces to write")
    parser.add_argument("--temperature", type=float, default=0.8, help="below 1: safer, above 1: bolder")
    parser.add_argument("--top-k", type=int, default=50, help="draw from that many of the likeliest (0: from all)")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/transformer_lm"))
    parser.add_argument("--resume", type=Path, metavar="CHECKPOINT")
    args = parser.parse_args(arguments)

    flambeau.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    text = args.text.read_text(encoding="utf-8")
    training, validation = text[: len(text) * 9 // 10], text[len(text) * 9 // 10 :]
    tokenizer = BytePairs(training, args.vocabulary)
    prompt = flambeau.tensor(tokenizer.encode(args.prompt), device=args.device)
    train_set = cut(tokenizer.encode(training), args.context, args.device)
    validation_set = cut(held_out := tokenizer.encode(validation), args.context, args.device)
    characters = len(validation) / len(held_out)
    print(f"{len(text):,} characters; {len(tokenizer.pieces)} pieces of {characters:.2f} characters in the mean")

    model = Transformer(len(tokenizer.pieces), args.width, args.layers, args.heads).to(args.device)
    batches = DataLoader(train_set, args.batch_size, shuffle=True)
    optimizer = flambeau.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.1)
    schedule = flambeau.optim.lr_scheduler.OneCycleLR(
        optimizer, args.lr, total_steps=args.epochs * len(batches), pct_start=0.1
    )
    first = 1
    if args.resume:
        checkpoint = flambeau.load(args.resume, map_location=args.device)
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        schedule.load_state_dict(checkpoint["schedule"])
        first = checkpoint["epoch"] + 1
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters on {args.device}")

    for epoch in range(first, args.epochs + 1):
        started = time.perf_counter()
        loss = train(model, tqdm(batches, f"epoch {epoch}", leave=False, disable=None), optimizer, schedule)
        held_out = evaluate(model, DataLoader(validation_set, args.batch_size))
        print(
            f"epoch {epoch:2}/{args.epochs}  loss {loss:.3f}  validation {held_out:.3f}  "
            f"perplexity {math.exp(held_out):.1f} a piece, {math.exp(held_out / characters):.2f} a character  "
            f"{time.perf_counter() - started:.1f} s",
            flush=True,
        )
        parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
        state = {name: part.state_dict() for name, part in parts.items()} | {"epoch": epoch}
        flambeau.save(state, args.out / "checkpoint.pt")

    started = time.perf_counter()
    written = write(model, prompt, args.length, args.temperature, args.top_k, args.context)
    sample = args.prompt + tokenizer.decode(written)
    seconds = time.perf_counter() - started
    (args.out / "sample.txt").write_text(sample + "\n", encoding="utf-8")
    print(f"\n{sample}\n\n{args.length / seconds:.0f} pieces a second; {args.out}/sample.txt, {args.out}/checkpoint.pt")


if __name__ == "__main__":
    main()
