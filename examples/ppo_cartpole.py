"""Reinforcement learning: a network learns to balance poles on carts, by proximal policy optimization.

Many carts are simulated at once, as tensors. The network says how likely it should push each to the left or to the
right and how long the pole will stay up; pushes that led to more than was expected are made likelier, in small steps
(PPO: Schulman et al., 2017; advantages: Schulman et al., 2016).

    python examples/ppo_cartpole.py
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import flambeau
from flambeau import Tensor, nn
from flambeau.nn import functional as F

LONGEST = 500  # steps of an episode


class CartPoles:
    """Poles on carts, as Barto, Sutton and Anderson (1983) describe them.

    States (N, 4) are the position and speed of the cart and the angle and angular speed of the pole; pushes (N,) are
    0 (left) and 1 (right). An episode ends when the pole leans by more than 12 degrees, when the cart leaves the
    track, or after ``LONGEST`` steps; then the next one begins.
    """

    def __init__(self, number: int, device):
        self.states = flambeau.empty(number, 4, device=device)
        self.ages = flambeau.zeros(number, device=device)
        self._begin(flambeau.ones(number, dtype=flambeau.bool, device=device))

    def _begin(self, which: Tensor) -> None:
        fresh = flambeau.empty_like(self.states).uniform_(-0.05, 0.05)
        self.states = flambeau.where(which[:, None], fresh, self.states)
        self.ages = self.ages.masked_fill(which, 0)

    def step(self, pushes: Tensor) -> tuple[Tensor, Tensor]:
        """Push; returns which poles have fallen, and the ages of the episodes that have ended (0 for the others)."""
        gravity, cart, pole, half_length, time_step = 9.8, 1.0, 0.1, 0.5, 0.02
        _, speed, angle, turning = self.states.unbind(dim=1)
        force = 20.0 * pushes - 10.0
        thrust = (force + pole * half_length * turning**2 * angle.sin()) / (cart + pole)
        inertia = half_length * (4 / 3 - pole * angle.cos() ** 2 / (cart + pole))
        turning_change = (gravity * angle.sin() - angle.cos() * thrust) / inertia
        speed_change = thrust - pole * half_length * turning_change * angle.cos() / (cart + pole)
        changes = flambeau.stack([speed, speed_change, turning, turning_change], dim=1)
        self.states = self.states + time_step * changes
        self.ages = self.ages + 1
        fallen = (self.states[:, 0].abs() > 2.4) | (self.states[:, 2].abs() > math.radians(12))
        ended = fallen | (self.ages == LONGEST)
        ages = self.ages * ended
        if ended.any():
            self._begin(ended)
        return ended, ages


class ActorCritic(nn.Module):
    """States (N, 4) -> the logits of the pushes (N, 2), and what is still to come (N,)."""

    def __init__(self, hidden: int = 64):
        super().__init__()
        self.actor, self.critic = (
            nn.Sequential(
                nn.Linear(4, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, outputs)
            )
            for outputs in (2, 1)
        )

    def forward(self, states):
        return self.actor(states), self.critic(states).squeeze(1)


@flambeau.no_grad()
def collect(model, carts: CartPoles, steps: int, discount: float = 0.99, smoothing: float = 0.95):
    """Let the carts roll: states, pushes, their log-probabilities, advantages and returns, of all steps (T * N, ...).

    Also the mean length of the episodes that ended on the way (NaN when none did).
    """
    record, lengths = [], []
    for _ in range(steps):
        states = carts.states
        logits, values = model(states)
        log_probabilities = logits.log_softmax(dim=1)
        pushes = flambeau.multinomial(log_probabilities.exp(), 1)
        ended, ages = carts.step(pushes.squeeze(1))
        record.append((states, pushes, log_probabilities.gather(1, pushes), values, ended.float()))
        lengths += ages[ended].tolist()
    states, pushes, log_probabilities, values, ended = (flambeau.stack(column) for column in zip(*record))

    _, following = model(carts.states)
    advantages, advantage = flambeau.zeros_like(values), 0.0
    for step in reversed(range(steps)):
        surprise = 1 + discount * following * (1 - ended[step]) - values[step]
        advantage = surprise + discount * smoothing * (1 - ended[step]) * advantage
        advantages[step], following = advantage, values[step]
    columns = (states, pushes, log_probabilities, advantages, advantages + values)
    mean_length = sum(lengths) / len(lengths) if lengths else math.nan
    return [column.flatten(0, 1) for column in columns], mean_length


def train(model, batches, optimizer, clip: float = 0.2) -> float:
    """Go through some batches once; returns the mean loss."""
    losses = []
    for states, pushes, old, advantages, returns in batches:
        logits, values = model(states)
        log_probabilities = logits.log_softmax(dim=1)
        ratio = (log_probabilities.gather(1, pushes) - old).exp().squeeze(1)
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        gain = flambeau.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages).mean()
        entropy = -(log_probabilities.exp() * log_probabilities).sum(dim=1).mean()
        loss = F.smooth_l1_loss(values, returns) - gain - 0.01 * entropy
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


@flambeau.no_grad()
def test(model, number: int, device) -> tuple[list[float], list[list[float]]]:
    """How long each of some first episodes lasts with the likeliest pushes, and the states of one of them."""
    carts = CartPoles(number, device)
    lengths, film = flambeau.zeros(number, device=device), []
    for _ in range(LONGEST):
        film.append(carts.states[0].tolist())
        _, ages = carts.step(model(carts.states)[0].argmax(dim=1))
        lengths = flambeau.where(lengths == 0, ages, lengths)
        if (lengths > 0).all():
            break
    return lengths.tolist(), film[: int(lengths[0])]


def draw(states: list[list[float]], path: Path) -> None:
    """An animated GIF, every fourth step a picture."""
    from PIL import Image, ImageDraw

    frames = []
    for position, _, angle, _ in states[::4]:
        frame = Image.new("P", (400, 160), 0)
        frame.putpalette([255, 255, 255, 34, 34, 34, 31, 111, 180, 217, 83, 30])
        canvas = ImageDraw.Draw(frame)
        x, y = 200 + 75 * position, 120
        canvas.line([(0, y + 12), (400, y + 12)], 1)
        canvas.rectangle([x - 25, y - 10, x + 25, y + 10], 2)
        canvas.line([(x, y), (x + 90 * math.sin(angle), y - 90 * math.cos(angle))], 3, 6)
        frames.append(frame)
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=80, loop=0)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--carts", type=int, default=32, help="that roll at once")
    parser.add_argument("--steps", type=int, default=64, help="of each cart in an epoch")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/ppo_cartpole"))
    parser.add_argument("--resume", type=Path, metavar="CHECKPOINT")
    args = parser.parse_args(arguments)

    flambeau.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    model = ActorCritic(args.hidden).to(args.device)
    optimizer = flambeau.optim.Adam(model.parameters(), lr=args.lr)
    first = 1
    if args.resume:
        checkpoint = flambeau.load(args.resume, map_location=args.device)
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        first = checkpoint["epoch"] + 1
    carts = CartPoles(args.carts, args.device)

    started = time.perf_counter()
    for epoch in range(first, args.epochs + 1):
        columns, length = collect(model, carts, args.steps)
        for _ in range(4):
            order = flambeau.randperm(len(columns[0]), device=args.device).split(args.batch_size)
            loss = train(model, [[column[numbers] for column in columns] for numbers in order], optimizer)
        if epoch % 5 == 0 or epoch == args.epochs:
            seconds = time.perf_counter() - started
            bar = "" if math.isnan(length) else "#" * round(length / LONGEST * 40)
            print(
                f"epoch {epoch:2}/{args.epochs}  loss {loss:6.3f}  {length:5.1f} steps  {seconds:4.1f} s  {bar}",
                flush=True,
            )
            flambeau.save(
                {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch},
                args.out / "checkpoint.pt",
            )
    lengths, states = test(model, 100, args.device)
    draw(states, args.out / "cartpole.gif")
    mean, least = sum(lengths) / len(lengths), min(lengths)
    print(f"\n{len(lengths)} poles stay up for {mean:.1f} steps of {LONGEST} in the mean, for {least:.0f} at least")
    print(f"{args.out}/cartpole.gif, {args.out}/checkpoint.pt")


if __name__ == "__main__":
    main()
