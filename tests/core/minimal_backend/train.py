"""Train a small network on the device named on the command line, and print the first and the last loss."""

import sys

import flambeau
from flambeau import nn

device = sys.argv[1]
flambeau.manual_seed(0)
corners = flambeau.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], device=device)
classes = flambeau.tensor([0, 1, 1, 0], device=device)  # exclusive or
with flambeau.device(device):
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
loss_of = nn.CrossEntropyLoss()
optimizer = flambeau.optim.Adam(model.parameters(), lr=0.05)
losses = []
for _ in range(100):
    optimizer.zero_grad()
    loss = loss_of(model(corners), classes)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
assert next(model.parameters()).device.type == device
assert model(corners).argmax(1).tolist() == [0, 1, 1, 0]
print(losses[0], losses[-1])
