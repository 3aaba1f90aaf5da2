"""What layers share, and what stands between a parameter and its use: norms of weights, checkpoints, scripts."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, spectral_norm, weight_norm
from torch.utils.checkpoint import checkpoint

from tests.nets import ConvBN
from tests.zoo.case import Case, image
from tests.zoo.movement import Between, TwoBranches


class TiedEmbedding(nn.Module):
    """The output layer has the table's weight: 8 channels of the table, 6 between."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.first, self.second = nn.Embedding(20, 8), nn.Linear(8, 6), nn.Linear(6, 8)
        self.out = nn.Linear(8, 20, bias=False)
        self.out.weight = self.table.weight

    def forward(self, words: Tensor) -> Tensor:
        x = self.table(words)
        return self.out(x + self.second(torch.tanh(self.first(x))))


class Siamese(nn.Module):
    """One encoder, called with two inputs: 6 + 5."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(10, 2)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.head(torch.cat([self.encoder(left), self.encoder(right)], 1).flatten(1))


class SharedNorm(TwoBranches):
    """One batch norm after two layers ties their channels."""

    def prepare(self) -> None:
        super().prepare()
        self.norm = nn.BatchNorm2d(8)

    def between(self, x: Tensor) -> Tensor:
        return self.norm(x) * torch.sigmoid(self.norm(self.other(x)))


class SharedKernel(Between):
    """Two convolutions of another shape use one weight, the other one transposed: 8 = 8, and 6."""

    def prepare(self) -> None:
        self.encode = nn.Conv2d(8, 6, 1)

    def between(self, x: Tensor) -> Tensor:
        return x + F.conv_transpose2d(torch.tanh(self.encode(x)), self.encode.weight)


class FreeWeights(nn.Module):
    """Functional calls on parameters without layers: 8 with a batch norm and slopes, 6 with a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel, self.slopes = nn.Parameter(torch.randn(8, 3, 3, 3)), nn.Parameter(torch.ones(8))
        self.gamma, self.beta = nn.Parameter(torch.ones(8)), nn.Parameter(torch.zeros(8))
        self.register_buffer("running_mean", torch.zeros(8))
        self.register_buffer("running_var", torch.ones(8))
        self.matrix, self.bias = nn.Parameter(torch.randn(6, 8)), nn.Parameter(torch.zeros(6))
        self.out = nn.Parameter(torch.randn(6, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.kernel, padding=1)
        x = F.batch_norm(x, self.running_mean, self.running_var, self.gamma, self.beta, self.training)
        x = F.linear(F.prelu(x, self.slopes).mean((2, 3)), self.matrix, self.bias)
        return torch.relu(x) @ self.out


class Normed(nn.Module):
    """A layer with a norm of its weight between two others: 8 + 6 + 5."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3), layer
        self.conv3, self.head = nn.Conv2d(6, 5, 1), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.conv3(F.relu(self.conv2(F.relu(self.conv1(x)))))).mean((2, 3)))


def normed(wrap: Callable[[nn.Module], nn.Module], kind: type[nn.Module] = nn.Conv2d) -> Callable[[], nn.Module]:
    """Return a network whose second layer is wrapped."""

    def build() -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return Normed(wrap(kind(8, 6, 3)))

    return build


class NormedLinear(nn.Module):
    """ArcFace's: rows of a weight are normalised by hand. 7 + 5."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 7), nn.Linear(7, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        weight = self.second.weight
        return self.head(torch.relu(F.linear(x, weight / weight.norm(dim=1, keepdim=True), self.second.bias)))


class LowRank(nn.Module):
    """LoRA: a weight and a product of two thin ones. 8, which the thin ones read as well, + 6 + 3 of low rank."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(5, 8), nn.Linear(8, 6), nn.Linear(6, 2)
        self.down, self.up = nn.Linear(8, 3, bias=False), nn.Linear(3, 6, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        return self.head(torch.relu(self.second(x) + 0.5 * self.up(self.down(x))))


class Checkpointed(nn.Module):
    """Activations that are computed again in the backward pass: 8 + 6 + 5."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.stem, self.body = nn.Conv2d(3, 8, 3), nn.Sequential(ConvBN(8, 6), ConvBN(6, 5))
        self.head = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "None of the inputs have requires_grad")  # without gradients
            x = checkpoint(self.body, torch.relu(self.stem(x)), use_reentrant=self.reentrant)
        return self.head(x.mean((2, 3)))


class Detached(TwoBranches):
    """A branch without gradients and a value that is computed without them: 8."""

    def between(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            scale = x.abs().mean((2, 3), keepdim=True)
        return self.other(x) / (1 + scale) + 0.5 * x.detach()


class FrozenBackbone(nn.Module):
    """A part that runs without gradients, in eval mode whatever the network's is: 8 + 6, then 5."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(ConvBN(3, 8), ConvBN(8, 6)).requires_grad_(False)
        self.neck, self.head = nn.Linear(6, 5), nn.Linear(5, 4)

    def train(self, mode: bool = True) -> "FrozenBackbone":
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.backbone(x).mean((2, 3))
        return self.head(torch.relu(self.neck(x)))


class Scripted(nn.Module):
    """A block that was compiled by TorchScript between other layers; it cannot be looked into."""

    def __init__(self) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.body = torch.jit.script(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3)))
        self.neck, self.head = nn.Conv2d(6, 5, 1), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.neck(F.relu(self.body(x)))).mean((2, 3)))


class Nested(nn.Module):
    """Dictionaries, tuples and lists of outputs in each other: what is returned stays."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.neck, self.head = ConvBN(3, 8), ConvBN(8, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> object:
        x = self.body(x)
        features = self.neck(x)
        logits = self.head(features.mean((2, 3)))
        return {"logits": logits, "more": ([features.amax(1)], {"norm": logits.norm(dim=1)}, None, "name", 3)}


class Recurrent(nn.Module):
    """
    A recurrent layer reads 7 channels and makes 6, each with the rows of its gates; 5 of the layer that reads it.

    Both directions and all layers have one hidden size, so unit i of each of them goes together.
    """

    def __init__(self, kind: type[nn.RNNBase], **options: object) -> None:
        super().__init__()
        self.read, self.rnn = nn.Linear(4, 7), kind(7, 6, batch_first=True, **options)
        width = 6 * (2 if self.rnn.bidirectional else 1)
        self.neck, self.head = nn.Linear(width, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.neck(self.rnn(torch.tanh(self.read(x)))[0][:, -1])))


class Translated(nn.Module):
    """An encoder's 6 hidden units begin the states of the decoder and are tied to them; both read 7, 5 are behind."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.neck, self.head = nn.Linear(4, 7), nn.Linear(6, 5), nn.Linear(5, 3)
        self.encoder, self.decoder = nn.LSTM(7, 6), nn.LSTM(7, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.read(x)).transpose(0, 1)  # (steps, batch, channels)
        _, states = self.encoder(x)
        return self.head(torch.relu(self.neck(self.decoder(x.flip(0), states)[0].mean(0))))


class OneSequence(nn.Module):
    """A sequence without a batch: its 7 channels, 6 of the recurrent layer, 5 behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.rnn, self.neck, self.head = nn.Linear(4, 7), nn.GRU(7, 6), nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.neck(self.rnn(torch.tanh(self.read(x[0])))[0])))


class SamplesOfChannels(nn.Module):
    """A recurrent layer takes each of 7 channels as a sample, so they may go; so may its own 6, and 5 behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.rnn = nn.Conv1d(4, 7, 1), nn.LSTM(1, 6, batch_first=True)
        self.mix, self.neck, self.head = nn.Linear(7, 1), nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.read(x.transpose(1, 2)))  # (batch, channels, steps)
        found = self.rnn(x.flatten(0, 1).unsqueeze(-1))[0][:, -1]  # (batch x channels, 6)
        mixed = self.mix(found.unflatten(0, (x.size(0), -1)).transpose(1, 2))  # (batch, 6, 1)
        return self.head(torch.relu(self.neck(mixed.squeeze(-1))))


class StepsOfChannels(nn.Module):
    """A recurrent layer takes 7 channels as its steps, so all of them stay; its own 6 may go, and 5 behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.rnn = nn.Conv1d(4, 7, 1), nn.LSTM(5, 6, batch_first=True)
        self.neck, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        found = self.rnn(torch.tanh(self.read(x.transpose(1, 2))))[0]
        return self.head(torch.relu(self.neck(found[:, -1])))


class Cell(nn.Module):
    """A cell called in a loop: its input's 7, its own 6, 5 behind it."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.read, self.cell, self.neck, self.head = nn.Linear(4, 7), kind(7, 6), nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x, state = torch.tanh(self.read(x)), None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.head(torch.relu(self.neck(state[0] if isinstance(state, tuple) else state)))


class HandWritten(nn.Module):
    """A recurrence of linear layers: 7, and 6 hidden units that are read and made by the same layer. 5 behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.inner, self.again = nn.Linear(4, 7), nn.Linear(7, 6), nn.Linear(6, 6)
        self.neck, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(x.size(0), self.again.in_features)
        for step in torch.tanh(self.read(x)).unbind(1):
            state = torch.tanh(self.inner(step) + self.again(state))
        return self.head(torch.relu(self.neck(state)))


class Bags(nn.Module):
    """Sums of embeddings: 8, which another table's 8 are added to, and 5."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.bag, self.table = nn.EmbeddingBag(20, 8, mode=mode), nn.Embedding(7, 8, padding_idx=0)
        self.neck, self.head = nn.Linear(8, 5), nn.Linear(5, 3)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(torch.relu(self.neck(self.bag(words) + self.table(words[:, 0]))))


def one_dimension() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(2, 6, 3, groups=2), nn.ConstantPad1d(1, 0.5), nn.Conv1d(6, 8, 3), nn.BatchNorm1d(8), nn.PReLU(8),
        nn.MaxPool1d(2), nn.ReflectionPad1d(1), nn.Conv1d(8, 8, 3, groups=8), nn.Upsample(None, 2.0, "linear"),
        nn.ConvTranspose1d(8, 5, 2), nn.AdaptiveAvgPool1d(3), nn.Flatten(), nn.Linear(15, 4),
    )  # fmt: skip


def three_dimensions() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(1, 6, 1), nn.ReplicationPad3d(1), nn.BatchNorm3d(6), nn.PReLU(6), nn.MaxPool3d(2), nn.Dropout3d(0.0),
        nn.Conv3d(6, 6, 1, groups=6), nn.Upsample(scale_factor=2, mode="trilinear"), nn.AvgPool3d(2),
        nn.ConvTranspose3d(6, 5, 2), nn.AdaptiveMaxPool3d(2), nn.Flatten(), nn.Linear(40, 4),
    )  # fmt: skip


def steps() -> Tensor:
    return torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(1))


def more_steps() -> Tensor:
    return torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(1))


def words() -> Tensor:
    return torch.arange(14).reshape(2, 7) % 7


CASES = [
    Case("tied_embedding", TiedEmbedding, 8 + 6, {"table": "entry of an embedding"}, words),
    Case("siamese", Siamese, 6 + 5, {}, lambda: (image(), image(seed=2))),
    Case("shared_norm", SharedNorm, 8 + 5),
    Case("shared_kernel", SharedKernel, 8 + 6 + 5),
    Case("free_weights", FreeWeights, 8 + 6),
    Case("weight_norm_conv", normed(parametrizations.weight_norm), 8 + 6 + 5),
    Case("weight_norm_transposed", normed(parametrizations.weight_norm, nn.ConvTranspose2d), 8 + 6 + 5),
    Case("weight_norm_hook", normed(weight_norm), 8 + 6 + 5),
    Case("spectral_norm_conv", normed(parametrizations.spectral_norm), 8 + 6 + 5),
    Case("spectral_norm_transposed", normed(parametrizations.spectral_norm, nn.ConvTranspose2d), 8 + 6 + 5),
    Case("spectral_norm_hook", normed(spectral_norm), 8 + 6 + 5),
    Case("normalised_by_hand", NormedLinear, 7 + 5, {}, lambda: torch.randn(3, 6)),
    Case("low_rank", LowRank, 8 + 6 + 3, {}, lambda: torch.randn(3, 5)),
    Case("checkpoint", lambda: Checkpointed(False), 8 + 6 + 5),
    Case("checkpoint_reentrant", lambda: Checkpointed(True), 8 + 6 + 5),
    Case("detached", Detached, 8 + 5),
    Case("frozen_backbone", FrozenBackbone, 8 + 6 + 5),
    Case("nested_outputs", Nested, 8, {"neck.0": "over channels", "head": "over channels"}),
    Case("lstm", lambda: Recurrent(nn.LSTM), 7 + 6 + 5, {}, steps),
    Case("gru_both_directions", lambda: Recurrent(nn.GRU, bidirectional=True), 7 + 6 + 5, {}, steps),
    Case("rnn_two_layers", lambda: Recurrent(nn.RNN, num_layers=2), 7 + 6 + 5, {}, steps),
    Case("lstm_long", lambda: Recurrent(nn.LSTM, num_layers=2, bidirectional=True), 7 + 6 + 5, {}, more_steps),
    Case("gru_with_dropout", lambda: Recurrent(nn.GRU, num_layers=2, dropout=0.5), 7 + 6 + 5, {}, more_steps, False),
    Case("rnn_of_relu", lambda: Recurrent(nn.RNN, nonlinearity="relu", bias=False), 7 + 6 + 5, {}, more_steps),
    Case("encoder_and_decoder", Translated, 7 + 6 + 5, {}, more_steps),
    Case("one_sequence", OneSequence, 7 + 6 + 5, {}, steps),
    Case("samples_of_channels", SamplesOfChannels, 7 + 6 + 5, {}, steps),
    Case("steps_of_channels", StepsOfChannels, 6 + 5, {"read": "cumsum over channels"}, steps),
    Case("lstm_cell", lambda: Cell(nn.LSTMCell), 7 + 6 + 5, {}, steps),
    Case("gru_cell", lambda: Cell(nn.GRUCell), 7 + 6 + 5, {}, steps),
    Case("hand_written_recurrence", HandWritten, 7 + 6 + 5, {}, steps),
    Case("embedding_bag_sum", lambda: Bags("sum"), 8 + 5, {}, words),
    Case("embedding_bag_mean", lambda: Bags("mean"), 8 + 5, {}, words),
    Case("one_dimension", one_dimension, 8 + 5, {"0": "such as the network's input"}, lambda: torch.randn(2, 2, 16)),
    Case("three_dimensions", three_dimensions, 6 + 5, {}, lambda: torch.randn(2, 1, 4, 4, 4)),
]
