"""One model in shared memory, trained by two processes at once."""

import torch
import torch.multiprocessing as mp
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim


def batch(generator):
    x = torch.randn(32, 4, generator=generator)
    return x, (x[:, :1] * 2 - x[:, 1:2])


def train(rank, model):
    generator = torch.Generator().manual_seed(rank)
    optimizer = optim.SGD(model.parameters(), lr=0.05)
    for _ in range(40):
        x, y = batch(generator)
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()


if __name__ == "__main__":
    mp.set_start_method("spawn", force=True)
    torch.manual_seed(1)
    model = nn.Linear(4, 1)
    model.share_memory()
    x, y = batch(torch.Generator().manual_seed(9))
    print("loss:", F.mse_loss(model(x), y).item())
    processes = []
    for rank in range(2):
        p = mp.Process(target=train, args=(rank, model))
        p.start()
        processes.append(p)
    for p in processes:
        p.join()
    mp.spawn(train, args=(model,), nprocs=1, join=True)
    print("loss:", F.mse_loss(model(x), y).item())
