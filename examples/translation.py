"""Sequence-to-sequence translation with attention: numbers in English words to German words.

German puts the ones before the tens and writes everything as one word:

    three hundred twenty one thousand forty five -> dreihunderteinundzwanzigtausendfünfundvierzig

so that a translation cannot go word by word. A bidirectional GRU reads the English words, another GRU writes the
pieces of the German word and looks back at the English with attention (Luong, Pham and Manning, 2015). It learns from
a few thousand of the million numbers and is tested on others; where it looked is drawn at the end.

    python examples/translation.py
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

from tqdm import tqdm

import flambeau
from flambeau import Tensor, nn
from flambeau.nn import functional as F
from flambeau.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from flambeau.utils.data import DataLoader

# -- the two languages -------------------------------------------------------------------------------------------------

ENGLISH = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
ENGLISH_TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
GERMAN = (
    "null ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn "
    "achtzehn neunzehn"
).split()
GERMAN_TENS = "_ _ zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()


def english(number: int) -> list[str]:
    """The words of a number below a million: ``english(45)`` is ``["forty", "five"]``."""
    if number >= 1000:
        return english(number // 1000) + ["thousand"] + (english(number % 1000) if number % 1000 else [])
    if number >= 100:
        return [ENGLISH[number // 100], "hundred"] + (english(number % 100) if number % 100 else [])
    if number >= 20:
        return [ENGLISH_TENS[number // 10]] + ([ENGLISH[number % 10]] if number % 10 else [])
    return [ENGLISH[number]]


def german(number: int, last: bool = True) -> list[str]:
    """The pieces of a number below a million: ``german(45)`` is ``["fünf", "und", "vierzig"]``.

    ``last`` says that nothing follows: then 1 is *eins* and not *ein*.
    """
    if number >= 1000:
        return german(number // 1000, last=False) + ["tausend"] + (german(number % 1000, last) if number % 1000 else [])
    if number >= 100:
        return [GERMAN[number // 100], "hundert"] + (german(number % 100, last) if number % 100 else [])
    if number >= 20:
        return ([GERMAN[number % 10], "und"] if number % 10 else []) + [GERMAN_TENS[number // 10]]
    return ["eins"] if number == 1 and last else [GERMAN[number]]


PAD, START, END = 0, 1, 2


class Vocabulary:
    """Numbers for the words of some sentences; 0, 1 and 2 stand for padding, start and end."""

    def __init__(self, words: list[str]):
        self.words = ["<pad>", "<start>", "<end>", *words]
        self.number = {word: number for number, word in enumerate(self.words)}

    def encode(self, words: list[str]) -> Tensor:
        return flambeau.tensor([self.number[word] for word in words] + [END])

    def decode(self, numbers: list[int]) -> list[str]:
        return [self.words[number] for number in numbers]


SOURCE = Vocabulary([*ENGLISH, *ENGLISH_TENS[2:], "hundred", "thousand"])
TARGET = Vocabulary([*GERMAN, "eins", *GERMAN_TENS[2:], "und", "hundert", "tausend"])


def collate(numbers: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """A batch: English (N, S), its lengths (N,) and German (N, T), padded at the end."""
    sources = [SOURCE.encode(english(number)) for number in numbers]
    targets = [TARGET.encode(german(number)) for number in numbers]
    lengths = flambeau.tensor([len(source) for source in sources])
    return pad_sequence(sources, batch_first=True), lengths, pad_sequence(targets, batch_first=True)


# -- the model ---------------------------------------------------------------------------------------------------------


class Translator(nn.Module):
    """An encoder and a decoder with attention between them."""

    def __init__(self, sources: int, targets: int, hidden: int):
        super().__init__()
        self.source_embedding = nn.Embedding(sources, hidden, padding_idx=PAD)
        self.encoder = nn.GRU(hidden, hidden // 2, bidirectional=True, batch_first=True)
        self.target_embedding = nn.Embedding(targets, hidden, padding_idx=PAD)
        self.decoder = nn.GRU(hidden, hidden, batch_first=True)
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.mix = nn.Linear(2 * hidden, hidden)
        self.output = nn.Linear(hidden, targets)

    def encode(self, source, lengths):
        """(N, S) -> what was read (N, S, hidden), and the state with which the decoder starts (1, N, hidden)."""
        packed = pack_padded_sequence(self.source_embedding(source), lengths, batch_first=True, enforce_sorted=False)
        features, state = self.encoder(packed)
        features, _ = pad_packed_sequence(features, batch_first=True)
        return features, flambeau.cat([state[0], state[1]], dim=1)[None]

    def decode(self, previous, state, memory, padding):
        """Pieces so far (N, T) -> logits of the next ones (N, T, targets), the state, and the attention (N, T, S)."""
        features, state = self.decoder(self.target_embedding(previous), state)
        scores = self.query(features) @ memory.transpose(1, 2)
        attention = scores.masked_fill(padding[:, None], float("-inf")).softmax(dim=2)
        mixed = self.mix(flambeau.cat([features, attention @ memory], dim=2)).tanh()
        return self.output(mixed), state, attention

    def forward(self, source, lengths, target):
        """Logits (N, T, targets), each piece guessed from the true pieces before it."""
        memory, state = self.encode(source, lengths)
        start = flambeau.full_like(target[:, :1], START)
        logits, _, _ = self.decode(flambeau.cat([start, target[:, :-1]], dim=1), state, memory, source == PAD)
        return logits

    @flambeau.no_grad()
    def translate(self, source, lengths, longest: int = 24):
        """The likeliest pieces one by one: (N, at most longest), END and what follows it included; the attention."""
        memory, state = self.encode(source, lengths)
        piece = flambeau.full_like(source[:, :1], START)
        ended = flambeau.zeros_like(piece, dtype=flambeau.bool)
        pieces, attentions = [], []
        while len(pieces) < longest and not ended.all():
            logits, state, attention = self.decode(piece, state, memory, source == PAD)
            piece = logits.argmax(dim=2)
            ended |= piece == END
            pieces.append(piece)
            attentions.append(attention)
        return flambeau.cat(pieces, dim=1), flambeau.cat(attentions, dim=1)


# -- training and testing ----------------------------------------------------------------------------------------------


def train(model, batches, optimizer, device="cpu") -> float:
    """One epoch; returns the mean loss."""
    model.train()
    losses = []
    for source, lengths, target in batches:
        source, target = source.to(device), target.to(device)
        logits = model(source, lengths, target)
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PAD)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def sentence(pieces: list[int]) -> list[str]:
    """The words before END."""
    return TARGET.decode(pieces[: pieces.index(END)] if END in pieces else pieces)


def test(model, numbers: list[int], device="cpu", batch_size: int = 250) -> list[list[str]]:
    """The translations of some numbers."""
    model.eval()
    translations = []
    for source, lengths, _ in DataLoader(numbers, batch_size, collate_fn=collate):
        pieces, _ = model.translate(source.to(device), lengths)
        translations += [sentence(row) for row in pieces.tolist()]
    return translations


def draw_attention(model, number: int, device="cpu") -> str:
    """A row a German piece, a column an English word; the darker, the more the piece looked at the word."""
    source, lengths, _ = collate([number])
    pieces, attention = model.translate(source.to(device), lengths)
    words = [*english(number), "(end)"]
    lines = [" " * 12 + " ".join(words)]
    for piece, weights in zip(sentence(pieces[0].tolist()), attention[0].tolist()):
        cells = [" ░▒▓█"[min(int(weight * 5), 4)] * len(word) for word, weight in zip(words, weights)]
        lines.append(f"{piece:>11} " + " ".join(cells).rstrip())
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=3000, help="pairs to learn from")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/translation"))
    parser.add_argument("--resume", type=Path, metavar="CHECKPOINT")
    args = parser.parse_args(arguments)

    flambeau.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    numbers = random.Random(0).sample(range(1_000_000), args.pairs + 2000)
    training, testing = numbers[2000:], numbers[:2000]
    model = Translator(len(SOURCE.words), len(TARGET.words), args.hidden).to(args.device)
    optimizer = flambeau.optim.Adam(model.parameters(), lr=args.lr)
    schedule = flambeau.optim.lr_scheduler.ExponentialLR(optimizer, 0.7)
    first = 1
    if args.resume:
        checkpoint = flambeau.load(args.resume, map_location=args.device)
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        schedule.load_state_dict(checkpoint["schedule"])
        first = checkpoint["epoch"] + 1
    print(f"{args.pairs:,} pairs to learn from, {len(testing):,} others to test with")
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters on {args.device}")

    batches = DataLoader(training, args.batch_size, shuffle=True, collate_fn=collate)
    truth = [german(number) for number in testing]
    for epoch in range(first, args.epochs + 1):
        started = time.perf_counter()
        loss = train(model, tqdm(batches, f"epoch {epoch}", leave=False, disable=None), optimizer, args.device)
        schedule.step()
        translations = test(model, testing, args.device)
        right = sum(translation == true for translation, true in zip(translations, truth))
        print(
            f"epoch {epoch:2}/{args.epochs}  loss {loss:.4f}  right {100 * right / len(testing):.1f} %  "
            f"{time.perf_counter() - started:.1f} s",
            flush=True,
        )
        parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
        state = {name: part.state_dict() for name, part in parts.items()} | {"epoch": epoch}
        flambeau.save(state, args.out / "checkpoint.pt")

    translations = test(model, testing, args.device)
    lines = []
    for number, translation, true in zip(testing, translations, truth):
        mistake = "" if translation == true else f"   (it is {''.join(true)})"
        lines.append(f"{number:>7} = {' '.join(english(number))}\n          {''.join(translation)}{mistake}\n")
    (args.out / "translations.txt").write_text("".join(lines), encoding="utf-8")
    wrong = [line for line in lines if "(it is" in line]
    print("\n" + "".join(lines[:5] + wrong[:3]))
    print(draw_attention(model, 321_045, args.device))
    print(f"\n{args.out}/translations.txt, {args.out}/checkpoint.pt")


if __name__ == "__main__":
    main()
