"""Two pictures, one network: whether they show the same."""

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torchvision
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(1)


class SiameseNetwork(nn.Module):
    def __init__(self):
        super(SiameseNetwork, self).__init__()
        self.resnet = torchvision.models.resnet18(weights=None)
        self.resnet.conv1 = nn.Conv2d(1, 64, kernel_size=(3, 3), stride=(2, 2), padding=(3, 3), bias=False)
        self.fc_in_features = self.resnet.fc.in_features
        self.resnet = torch.nn.Sequential(*(list(self.resnet.children())[:5]))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(nn.Linear(64 * 2, 32), nn.ReLU(inplace=True), nn.Linear(32, 1))
        self.sigmoid = nn.Sigmoid()
        self.fc.apply(self.init_weights)

    def init_weights(self, m):
        if isinstance(m, nn.Linear):
            torch.nn.init.xavier_uniform_(m.weight)
            m.bias.data.fill_(0.01)

    def forward_once(self, x):
        output = self.pool(self.resnet(x))
        return output.view(output.size()[0], -1)

    def forward(self, input1, input2):
        output = torch.cat((self.forward_once(input1), self.forward_once(input2)), 1)
        return self.sigmoid(self.fc(output))


class Pairs(Dataset):
    def __len__(self):
        return 48

    def __getitem__(self, index):
        first, second = torch.randint(0, 2, (2,)).tolist()

        def picture(kind):
            stripes = torch.zeros(1, 12, 12)
            if kind:
                stripes[:, ::2] = 1.0
            else:
                stripes[:, :, ::2] = 1.0
            return stripes + 0.1 * torch.randn(1, 12, 12)

        return picture(first), picture(second), torch.tensor(float(first == second))


device = torch.device("cpu")
model = SiameseNetwork().to(device)
optimizer = optim.Adadelta(model.parameters(), lr=1.0)
scheduler = StepLR(optimizer, step_size=1, gamma=0.9)
criterion = nn.BCELoss()
for epoch in range(3):
    model.train()
    losses = []
    for images_1, images_2, targets in DataLoader(Pairs(), batch_size=16, shuffle=True):
        optimizer.zero_grad()
        outputs = model(images_1.to(device), images_2.to(device)).squeeze()
        loss = criterion(outputs, targets.to(device))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    scheduler.step()
    print("epoch {} loss: {:.6f} lr {}".format(epoch, sum(losses) / len(losses), scheduler.get_last_lr()))
