"""A language model of words: an LSTM over pieces of a text, its state carried on."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(1111)
WORDS = "the cat sat on the mat and the dog sat on the log <eos>".split() * 40


class Dictionary(object):
    def __init__(self):
        self.word2idx = {}
        self.idx2word = []

    def add_word(self, word):
        if word not in self.word2idx:
            self.idx2word.append(word)
            self.word2idx[word] = len(self.idx2word) - 1
        return self.word2idx[word]


def batchify(data, bsz):
    nbatch = data.size(0) // bsz
    data = data.narrow(0, 0, nbatch * bsz)
    data = data.view(bsz, -1).t().contiguous()
    return data.to(device)


class RNNModel(nn.Module):
    def __init__(self, rnn_type, ntoken, ninp, nhid, nlayers, dropout=0.1, tie_weights=False):
        super(RNNModel, self).__init__()
        self.ntoken = ntoken
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = getattr(nn, rnn_type)(ninp, nhid, nlayers, dropout=dropout)
        self.decoder = nn.Linear(nhid, ntoken)
        if tie_weights:
            self.decoder.weight = self.encoder.weight
        self.init_weights()
        self.nhid = nhid
        self.nlayers = nlayers

    def init_weights(self):
        initrange = 0.1
        nn.init.uniform_(self.encoder.weight, -initrange, initrange)
        nn.init.zeros_(self.decoder.bias)
        nn.init.uniform_(self.decoder.weight, -initrange, initrange)

    def forward(self, input, hidden):
        emb = self.drop(self.encoder(input))
        output, hidden = self.rnn(emb, hidden)
        decoded = self.decoder(self.drop(output))
        decoded = decoded.view(-1, self.ntoken)
        return F.log_softmax(decoded, dim=1), hidden

    def init_hidden(self, bsz):
        weight = next(self.parameters())
        return (weight.new_zeros(self.nlayers, bsz, self.nhid), weight.new_zeros(self.nlayers, bsz, self.nhid))


def repackage_hidden(h):
    if isinstance(h, torch.Tensor):
        return h.detach()
    else:
        return tuple(repackage_hidden(v) for v in h)


def get_batch(source, i, bptt=10):
    seq_len = min(bptt, len(source) - 1 - i)
    return source[i : i + seq_len], source[i + 1 : i + 1 + seq_len].view(-1)


device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
dictionary = Dictionary()
ids = torch.cat([torch.tensor([dictionary.add_word(word)]).type(torch.int64) for word in WORDS])
train_data = batchify(ids, 4)
model = RNNModel("LSTM", len(dictionary.idx2word), 16, 16, 2, tie_weights=True).to(device)
criterion = nn.NLLLoss()
lr = 4.0
for epoch in range(1, 7):
    model.train()
    total_loss = 0.0
    hidden = model.init_hidden(4)
    steps = range(0, train_data.size(0) - 1, 10)
    for i in steps:
        data, targets = get_batch(train_data, i)
        model.zero_grad()
        hidden = repackage_hidden(hidden)
        output, hidden = model(data, hidden)
        loss = criterion(output, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        for p in model.parameters():
            p.data.add_(p.grad, alpha=-lr)
        total_loss += loss.item()
    cur_loss = total_loss / len(steps)
    print("epoch {:3d} loss: {:5.4f} perplexity {:8.2f}".format(epoch, cur_loss, math.exp(cur_loss)))
model.rnn.flatten_parameters()
model.eval()
word = torch.randint(len(dictionary.idx2word), (1, 1), dtype=torch.long).to(device)
hidden = model.init_hidden(1)
with torch.no_grad():
    for _ in range(8):
        output, hidden = model(word, hidden)
        word_weights = output.squeeze().div(0.5).exp().cpu()
        word.fill_(torch.multinomial(word_weights, 1)[0])
        print(dictionary.idx2word[word], end=" ")
print()
