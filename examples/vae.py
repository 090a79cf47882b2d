"""A variational autoencoder (Kingma and Welling, 2014) learns to draw handwritten digits.

An encoder says for each image where in a space of a few dimensions it may lie; a decoder draws an image from a place
in that space. After training, places chosen at random give digits that nobody wrote, and the way from one place to
another turns one digit into the other.

    python examples/vae.py
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tqdm import tqdm

import flambeau
from flambeau import nn
from flambeau.nn import functional as F
from flambeau.utils.data import DataLoader
from flambeau_vision.datasets import Digits
from flambeau_vision.transforms import ToTensor
from flambeau_vision.utils import save_image


class VAE(nn.Module):
    """Images (N, 1, 8, 8) with values from 0 to 1, and places (N, latent)."""

    def __init__(self, hidden: int = 256, latent: int = 8):
        super().__init__()
        self.latent = latent
        self.encoder = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, 2 * latent),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, 64),
            nn.Unflatten(1, (1, 8, 8)),
        )

    def encode(self, images):
        """The mean and the log-variance of an image's place."""
        return self.encoder(images).chunk(2, dim=1)

    def draw(self, places):
        return self.decoder(places).sigmoid()

    def forward(self, images):
        """The logits of the image drawn anew, from a place that is sampled, and what :meth:`encode` says."""
        mean, log_variance = self.encode(images)
        places = mean + (log_variance / 2).exp() * flambeau.randn_like(mean)
        return self.decoder(places), mean, log_variance


def negative_elbo(images, logits, mean, log_variance):
    """What it costs to describe an image, in nats: the picture, given its place, and the place."""
    picture = F.binary_cross_entropy_with_logits(logits, images, reduction="sum")
    place = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
    return (picture + place) / len(images)


def train(model, batches, optimizer, device="cpu") -> float:
    """One epoch; returns the mean loss."""
    model.train()
    losses = []
    for images, _ in batches:
        images = images.to(device)
        loss = negative_elbo(images, *model(images))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


@flambeau.no_grad()
def evaluate(model, batches, device="cpu") -> float:
    """The mean loss an image."""
    model.eval()
    losses = []
    for images, _ in batches:
        images = images.to(device)
        losses.append(negative_elbo(images, *model(images)).item() * len(images))
    return sum(losses) / len(batches.dataset)


@flambeau.no_grad()
def pictures(model, images):
    """Three grids: images above what the model makes of them; digits from random places; ways between two images."""
    model.eval()
    places, _ = model.encode(images)
    again = flambeau.stack([images, model.draw(places)], dim=1).flatten(0, 1)
    invented = model.draw(flambeau.randn(100, model.latent, device=images.device))
    share = flambeau.linspace(0, 1, 10, device=images.device)[:, None]
    ways = [model.draw(places[i] + share * (places[i + 1] - places[i])) for i in range(8)]
    return {"reconstructions": again, "samples": invented, "ways": flambeau.cat(ways)}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--latent", type=int, default=8, help="dimensions of the space of digits")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/vae"))
    parser.add_argument("--resume", type=Path, metavar="CHECKPOINT")
    args = parser.parse_args(arguments)

    flambeau.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    train_set, test_set = Digits(train=True, transform=ToTensor()), Digits(train=False, transform=ToTensor())
    batches, test_batches = DataLoader(train_set, args.batch_size, shuffle=True), DataLoader(test_set, args.batch_size)
    model = VAE(args.hidden, args.latent).to(args.device)
    optimizer = flambeau.optim.Adam(model.parameters(), lr=args.lr)
    first = 1
    if args.resume:
        checkpoint = flambeau.load(args.resume, map_location=args.device)
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        first = checkpoint["epoch"] + 1
    print(f"{len(train_set):,} images; {sum(parameter.numel() for parameter in model.parameters()):,} parameters")

    started = time.perf_counter()
    for epoch in tqdm(range(first, args.epochs + 1), leave=False, disable=None):
        loss = train(model, batches, optimizer, args.device)
        if epoch % 5 == 0 or epoch == args.epochs:
            held_out = evaluate(model, test_batches, args.device)
            seconds = time.perf_counter() - started
            tqdm.write(f"epoch {epoch:2}/{args.epochs}  loss {loss:.2f}  test {held_out:.2f} nats  {seconds:.1f} s")
            flambeau.save(
                {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch},
                args.out / "checkpoint.pt",
            )

    images = flambeau.stack([test_set[number][0] for number in range(50)]).to(args.device)
    for name, grid in pictures(model, images).items():
        large = F.interpolate(grid.cpu(), scale_factor=4, mode="nearest")
        save_image(large, args.out / f"{name}.png", nrow=10)
        print(args.out / f"{name}.png")


if __name__ == "__main__":
    main()
