"""A variational autoencoder."""

import torch
import torch.utils.data
from torch import nn, optim
from torch.nn import functional as F

torch.manual_seed(1)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
where = torch.arange(64).unsqueeze(0)
pictures = (((where - torch.randint(0, 64, (400, 1))).abs() % 16) < 5).float().view(-1, 1, 8, 8)
kwargs = {"num_workers": 1, "pin_memory": True} if torch.cuda.is_available() else {"num_workers": 1}
loader = torch.utils.data.DataLoader(pictures, batch_size=50, shuffle=True, **kwargs)


class VAE(nn.Module):
    def __init__(self):
        super(VAE, self).__init__()
        self.fc1 = nn.Linear(64, 40)
        self.fc21 = nn.Linear(40, 4)
        self.fc22 = nn.Linear(40, 4)
        self.fc3 = nn.Linear(4, 40)
        self.fc4 = nn.Linear(40, 64)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        return mu + eps * std

    def decode(self, z):
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))

    def forward(self, x):
        mu, logvar = self.encode(x.view(-1, 64))
        z = self.reparameterize(mu, logvar)
        return self.decode(z), mu, logvar


def loss_function(recon_x, x, mu, logvar):
    BCE = F.binary_cross_entropy(recon_x, x.view(-1, 64), reduction="sum")
    KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return BCE + KLD


model = VAE().to(device)
optimizer = optim.Adam(model.parameters(), lr=1e-2)
if __name__ == "__main__":
    for epoch in range(1, 9):
        model.train()
        train_loss = 0
        for _, data in enumerate(loader):
            data = data.to(device)
            optimizer.zero_grad()
            recon_batch, mu, logvar = model(data)
            loss = loss_function(recon_batch, data, mu, logvar)
            loss.backward()
            train_loss += loss.item()
            optimizer.step()
        print("epoch: {} loss: {:.4f}".format(epoch, train_loss / len(loader.dataset)))
    with torch.no_grad():
        sample = torch.randn(4, 4).to(device)
        sample = model.decode(sample).cpu()
        assert sample.view(4, 1, 8, 8).min() >= 0
