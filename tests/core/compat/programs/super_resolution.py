"""Pictures enlarged by an efficient sub-pixel network."""

import torch
import torch.nn as nn
import torch.nn.init as init
import torch.optim as optim
from torch.utils.data import DataLoader, random_split
from torchvision.transforms import CenterCrop, Compose, Resize

torch.manual_seed(123)


class Net(nn.Module):
    def __init__(self, upscale_factor):
        super(Net, self).__init__()
        self.relu = nn.ReLU()
        self.conv1 = nn.Conv2d(1, 16, (5, 5), (1, 1), (2, 2))
        self.conv2 = nn.Conv2d(16, 8, (3, 3), (1, 1), (1, 1))
        self.conv3 = nn.Conv2d(8, upscale_factor**2, (3, 3), (1, 1), (1, 1))
        self.pixel_shuffle = nn.PixelShuffle(upscale_factor)
        self._initialize_weights()

    def forward(self, x):
        x = self.relu(self.conv1(x))
        x = self.relu(self.conv2(x))
        return self.pixel_shuffle(self.conv3(x))

    def _initialize_weights(self):
        init.orthogonal_(self.conv1.weight, init.calculate_gain("relu"))
        init.orthogonal_(self.conv2.weight, init.calculate_gain("relu"))
        init.orthogonal_(self.conv3.weight)


class Pictures(torch.utils.data.Dataset):
    def __init__(self, count):
        across = torch.linspace(0, 6.0, 20)
        turn = torch.rand(count, 2, 1, 1) * 2
        self.pictures = (
            torch.sin(across.view(1, 1, -1, 1) * turn[:, :1] + across.view(1, 1, 1, -1) * turn[:, 1:]) / 2 + 0.5
        )
        self.input_transform = Compose([CenterCrop(16), Resize(8)])
        self.target_transform = CenterCrop(16)

    def __getitem__(self, index):
        return self.input_transform(self.pictures[index]), self.target_transform(self.pictures[index])

    def __len__(self):
        return len(self.pictures)


train_set, test_set = random_split(Pictures(80), [64, 16], generator=torch.Generator().manual_seed(1))
training_data_loader = DataLoader(dataset=train_set, num_workers=0, batch_size=8, shuffle=True)
testing_data_loader = DataLoader(dataset=test_set, num_workers=0, batch_size=8, shuffle=False)
device = torch.accelerator.current_accelerator() if torch.cuda.is_available() else torch.device("cpu")
model = Net(upscale_factor=2).to(device)
criterion = nn.MSELoss()
optimizer = optim.Adam(model.parameters(), lr=0.003)
for epoch in range(1, 7):
    epoch_loss = 0
    for batch in training_data_loader:
        input, target = batch[0].to(device), batch[1].to(device)
        optimizer.zero_grad()
        loss = criterion(model(input), target)
        epoch_loss += loss.item()
        loss.backward()
        optimizer.step()
    print("epoch {} loss: {:.5f}".format(epoch, epoch_loss / len(training_data_loader)))
avg_psnr = 0
with torch.no_grad():
    for batch in testing_data_loader:
        mse = criterion(model(batch[0].to(device)), batch[1].to(device))
        avg_psnr += 10 * torch.log10(1 / mse).item()
print("average psnr: {:.4f} dB".format(avg_psnr / len(testing_data_loader)))
