"""A language model of characters: an LSTM learns to write as Newton did.

It reads the *Opticks* a character at a time, guesses each next one, and after every epoch writes a line itself.

    python examples/char_lstm.py
    python examples/char_lstm.py --text mybook.txt --prompt "It was"
    python examples/char_lstm.py --resume runs/char_lstm/checkpoint.pt --prompt "Is not " --temperature 0.5
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

import flambeau
from flambeau import Tensor, nn
from flambeau.nn import functional as F

OPTICKS = Path(__file__).parent / "data" / "opticks.txt"


class CharLSTM(nn.Module):
    """Characters (N, T) and the state after what came before -> logits (N, T, vocabulary) and the state after them."""

    def __init__(self, vocabulary: int, hidden: int, dropout: float = 0.1):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 64)
        self.lstm = nn.LSTM(64, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, vocabulary)

    def forward(self, characters, state=None):
        features, state = self.lstm(self.embedding(characters), state)
        return self.output(self.dropout(features)), state


def windows(text: Tensor, batch_size: int, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut a text into ``batch_size`` streams; give windows of them, in order, and the same one character later."""
    steps = (len(text) - 1) // batch_size
    inputs = text[: steps * batch_size].view(batch_size, steps)
    targets = text[1 : steps * batch_size + 1].view(batch_size, steps)
    for start in range(0, steps, length):
        yield inputs[:, start : start + length], targets[:, start : start + length]


def train(model, batches, optimizer) -> float:
    """One epoch; returns the mean loss."""
    model.train()
    losses, state = [], None
    for inputs, targets in batches:
        logits, state = model(inputs, state)
        state = tuple(part.detach() for part in state)  # the next window goes on from here, its gradients do not
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


@flambeau.no_grad()
def evaluate(model, batches) -> float:
    """The mean loss a character."""
    model.eval()
    total, count, state = 0.0, 0, None
    for inputs, targets in batches:
        logits, state = model(inputs, state)
        total += F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum").item()
        count += targets.numel()
    return total / count


@flambeau.no_grad()
def write(model, prompt: Tensor, length: int, temperature: float) -> list[int]:
    """Go on after a prompt (T,), each character drawn from what the model holds likely."""
    model.eval()
    written = []
    logits, state = model(prompt[None])
    for _ in range(length):
        probabilities = (logits[0, -1] / temperature).softmax(dim=0)
        following = flambeau.multinomial(probabilities, 1)
        written.append(following.item())
        logits, state = model(following[None], state)
    return written


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--text", type=Path, default=OPTICKS, help="what to learn from (default: Newton's Opticks)")
    parser.add_argument("--hidden", type=int, default=256, help="size of the LSTM's state")
    parser.add_argument("--window", type=int, default=64, help="characters through which gradients go back")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--prompt", default="The Rays of Light ")
    parser.add_argument("--length", type=int, default=400, help="characters to write")
    parser.add_argument("--temperature", type=float, default=0.7, help="below 1: safer, above 1: bolder")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/char_lstm"))
    parser.add_argument("--resume", type=Path, metavar="CHECKPOINT")
    args = parser.parse_args(arguments)

    flambeau.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    text = args.text.read_text(encoding="utf-8")
    alphabet = sorted(set(text) | set(args.prompt))
    number = {character: index for index, character in enumerate(alphabet)}

    def encode(string: str) -> Tensor:
        return flambeau.tensor([number[character] for character in string], device=args.device)

    training, validation = encode(text[: len(text) * 9 // 10]), encode(text[len(text) * 9 // 10 :])
    model = CharLSTM(len(alphabet), args.hidden).to(args.device)
    optimizer = flambeau.optim.Adam(model.parameters(), lr=args.lr)
    schedule = flambeau.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    first = 1
    if args.resume:
        checkpoint = flambeau.load(args.resume, map_location=args.device)
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        schedule.load_state_dict(checkpoint["schedule"])
        first = checkpoint["epoch"] + 1
    print(f"{len(text):,} characters, {len(alphabet)} different ones")
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters on {args.device}")

    for epoch in range(first, args.epochs + 1):
        started = time.perf_counter()
        batches = list(windows(training, args.batch_size, args.window))
        loss = train(model, tqdm(batches, f"epoch {epoch}", leave=False, disable=None), optimizer)
        schedule.step()
        held_out = evaluate(model, windows(validation, 8, args.window))
        print(
            f"epoch {epoch:2}/{args.epochs}  loss {loss:.3f}  validation {held_out:.3f}  "
            f"perplexity {math.exp(held_out):.2f}  {time.perf_counter() - started:.1f} s",
            flush=True,
        )
        parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
        state = {name: part.state_dict() for name, part in parts.items()} | {"epoch": epoch}
        flambeau.save(state, args.out / "checkpoint.pt")
        sample = write(model, encode(args.prompt), 70, args.temperature)
        print("    " + args.prompt + "".join(alphabet[index] for index in sample).replace("\n", " "))

    sample = args.prompt + "".join(
        alphabet[index] for index in write(model, encode(args.prompt), args.length, args.temperature)
    )
    (args.out / "sample.txt").write_text(sample + "\n", encoding="utf-8")
    print(f"\n{sample}\n\n{args.out}/sample.txt, {args.out}/checkpoint.pt")


if __name__ == "__main__":
    main()
