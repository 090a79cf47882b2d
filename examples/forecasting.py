"""Forecasting a time series: the temperature of the sea off Peru, a year ahead.

A GRU reads the last four years of monthly means, 1950 to 2010, and says for each of the next twelve months three
quantiles: 10 %, 50 % and 90 %. It learns from the first 46 years and is tested on the last 15, in which the great
El Niño of 1997 falls, against two forecasts that cost nothing: the usual temperature of the month, and the usual
temperature plus today's deviation from it.

    python examples/forecasting.py
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import flambeau
from flambeau import Tensor, nn
from flambeau.utils.data import DataLoader, TensorDataset

ELNINO = Path(__file__).parent / "data" / "elnino.csv"
HISTORY, AHEAD = 48, 12
QUANTILES = (0.1, 0.5, 0.9)
TEST_FROM = 46 * 12  # January 1996


def read_series(path: Path) -> Tensor:
    """The months of all years, one after another, in degrees Celsius."""
    with path.open() as file:
        rows = list(csv.reader(file))[1:]
    return flambeau.tensor([float(value) for row in rows for value in row[1:]])


class Forecaster(nn.Module):
    """History (N, HISTORY, 3) -> the quantiles of the months to come (N, AHEAD, 3).

    Today's deviation from what is usual, as far as it lasts, and what the GRU adds to it.
    """

    def __init__(self, hidden: int = 32):
        super().__init__()
        self.gru = nn.GRU(3, hidden, batch_first=True)
        self.dropout = nn.Dropout(0.2)
        self.output = nn.Linear(hidden, AHEAD * len(QUANTILES))
        self.lasting = nn.Parameter(0.85 ** flambeau.arange(1.0, AHEAD + 1))

    def forward(self, history):
        _, state = self.gru(history)
        added = self.output(self.dropout(state[0])).unflatten(1, (AHEAD, len(QUANTILES)))
        return (history[:, -1, :1] * self.lasting)[:, :, None] + added


def quantile_loss(forecast, truth):
    """The pinball loss (Koenker and Bassett, 1978): least when a share q of the truth lies below the quantile q."""
    q = flambeau.tensor(QUANTILES, device=forecast.device)
    error = truth[:, :, None] - forecast
    return flambeau.maximum(q * error, (q - 1) * error).mean()


def train(model, batches, optimizer) -> float:
    """One epoch; returns the mean loss."""
    model.train()
    losses = []
    for history, truth in batches:
        loss = quantile_loss(model(history), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


@flambeau.no_grad()
def predict(model, histories) -> Tensor:
    """The quantiles (N, AHEAD, 3) in rising order, on the CPU."""
    model.eval()
    return model(histories).sort(dim=2).values.cpu()


def draw(series: Tensor, forecasts: dict[int, Tensor], path: Path) -> None:
    """A plot of the test years: the truth, and forecasts with their bands, each from its month on."""
    from PIL import Image, ImageDraw

    start = TEST_FROM - 12
    width, height, margin = 1400, 420, 40
    months = len(series) - start
    low, high = series.min().item() - 0.5, series.max().item() + 0.5

    def point(month: float, value: float) -> tuple[float, float]:
        x = margin + (month - start) * (width - 2 * margin) / months
        return x, height - margin - (value - low) * (height - 2 * margin) / (high - low)

    picture = Image.new("RGB", (width, height), "white")
    canvas = ImageDraw.Draw(picture)
    for degrees in range(int(low) + 1, int(high) + 1, 2):
        canvas.line([point(start, degrees), point(len(series), degrees)], "#e4e4e4")
        canvas.text((8, point(start, degrees)[1] - 6), f"{degrees} C", "#888888")
    for month in range(start, len(series), 12):
        canvas.text((point(month, low)[0], height - margin + 10), str(1950 + month // 12), "#888888")
    for first, quantiles in forecasts.items():
        lower, middle, upper = quantiles.T.tolist()
        months_ahead = list(range(first, first + AHEAD))
        band = zip(months_ahead + months_ahead[::-1], upper + lower[::-1])
        canvas.polygon([point(*pair) for pair in band], "#fbd9c6")
        canvas.line([point(*pair) for pair in zip(months_ahead, middle)], "#d9531e", 2)
    canvas.line([point(start + month, value) for month, value in enumerate(series[start:].tolist())], "#1f4f9f", 2)
    canvas.text(
        (margin, 10), "blue: measured; orange: forecast a year ahead, with the band that should hold 80 %", "#222222"
    )
    picture.save(path)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/forecasting"))
    parser.add_argument("--resume", type=Path, metavar="CHECKPOINT")
    args = parser.parse_args(arguments)

    flambeau.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    series = read_series(ELNINO)

    # What is usual for each month, and how far the temperature is from it, in units of its spread.
    usual = series[:TEST_FROM].view(-1, 12).mean(dim=0).repeat(len(series) // 12)
    scale = (series - usual)[:TEST_FROM].std()
    deviation = (series - usual) / scale
    angle = flambeau.arange(len(series)) * (2 * flambeau.pi / 12)
    features = flambeau.stack([deviation, angle.sin(), angle.cos()], dim=1)

    # Window i is the history of the months i .. i + HISTORY - 1, and the AHEAD months after them.
    histories = features[:-AHEAD].unfold(0, HISTORY, 1).transpose(1, 2).to(args.device)
    truths = deviation[HISTORY:].unfold(0, AHEAD, 1).to(args.device)
    last_training = TEST_FROM - HISTORY - AHEAD + 1  # no window for training sees a month of the test
    first_test = TEST_FROM - HISTORY
    training = TensorDataset(histories[:last_training], truths[:last_training])
    print(f"{len(series)} months; {len(training)} windows to learn from, {len(truths) - first_test} to test with")

    model = Forecaster(args.hidden).to(args.device)
    optimizer = flambeau.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.05)
    schedule = flambeau.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    first = 1
    if args.resume:
        checkpoint = flambeau.load(args.resume, map_location=args.device)
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        schedule.load_state_dict(checkpoint["schedule"])
        first = checkpoint["epoch"] + 1

    started = time.perf_counter()
    batches = DataLoader(training, args.batch_size, shuffle=True)
    for epoch in range(first, args.epochs + 1):
        loss = train(model, batches, optimizer)
        schedule.step()
        if epoch % 5 == 0 or epoch == args.epochs:
            held_out = quantile_loss(predict(model, histories[first_test:]), truths[first_test:].cpu()).item()
            seconds = time.perf_counter() - started
            print(f"epoch {epoch:2}/{args.epochs}  loss {loss:.4f}  test {held_out:.4f}  {seconds:.1f} s", flush=True)
            parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
            state = {name: part.state_dict() for name, part in parts.items()} | {"epoch": epoch}
            flambeau.save(state, args.out / "checkpoint.pt")

    forecast = predict(model, histories[first_test:]) * scale
    truth = truths[first_test:].cpu() * scale
    today = histories[first_test:, -1:, 0].cpu() * scale
    errors = {
        "the month's usual temperature": truth.abs(),
        "usual, and today's deviation": (truth - today).abs(),
        "the network": (truth - forecast[:, :, 1]).abs(),
    }
    shown = (1, 3, 6, 9, 12)
    print(f"\n{'mean absolute error, degrees C':<34}{''.join(f'{month:6}' for month in shown)}  months ahead     all")
    for name, error in errors.items():
        by_month = "".join(f"{error[:, month - 1].mean():6.2f}" for month in shown)
        print(f"{name:<34}{by_month}{error.mean():22.3f}")
    inside = (forecast[:, :, 0] <= truth) & (truth <= forecast[:, :, 2])
    print(f"\n{100 * inside.float().mean():.0f} % of the measurements lie in the 80 % bands")

    degrees = {
        TEST_FROM + month: forecast[month] + usual[TEST_FROM + month : TEST_FROM + month + AHEAD, None]
        for month in range(0, len(forecast), AHEAD)
    }
    draw(series, degrees, args.out / "forecast.png")
    print(f"{args.out}/forecast.png, {args.out}/checkpoint.pt")


if __name__ == "__main__":
    main()
