"""Gates: the gradients of single examples, seen where weights read units."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import _get_current_function_mode_stack
from torch.utils.checkpoint import checkpoint

from prunekit import PrunableNetwork
from prunekit.exceptions import ParameterError, TrainingError
from tests.nets import PlainCNN, ResNet, SqueezeNet, dense_net, randomise
from tests.zoo.check import Watching


class Products(nn.Module):
    """Weights that are no module's, on both sides of a product, and torch's addmm as in GPT-2."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.right, self.left = nn.Parameter(torch.zeros(6, 5)), nn.Parameter(torch.zeros(7, 5))
        self.last, self.bias = nn.Parameter(torch.zeros(7, 3)), nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x)) @ self.right  # (batch, 2, 5)
        x = F.relu(torch.matmul(self.left, F.relu(x).mT)).mT  # (batch, 2, 7)
        return torch.addmm(self.bias, x.reshape(-1, 7), self.last).view(x.size(0), 2, 3).sum(1)


class BatchSecond(nn.Module):
    """Attention of torch to sequences with the batch in the second dimension, made from images."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x.transpose(0, 1)).mean(0))


class Upsampling(nn.Module):
    """Convolutions of one dimension, transposed ones, and windows that become examples."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv1d(2, 6, 3, stride=2), nn.ConvTranspose1d(6, 5, 3, stride=2)
        self.mix, self.head = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.up(F.relu(self.down(x))))  # (batch, 5, 9)
        windows = x.mT.reshape(-1, 3, 5)  # (batch * 3, 3, 5)
        return self.head(F.relu(self.mix(windows))).reshape(x.size(0), 9, 3).mean(1)


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "plain": (PlainCNN, (6, 3, 8, 8)),
    "residual": (ResNet, (5, 3, 8, 8)),
    "concatenation": (SqueezeNet, (4, 3, 8, 8)),
    "linear": (dense_net, (5, 6)),
    "products": (Products, (6, 2, 4)),
    "attention": (BatchSecond, (4, 6, 8)),
    "as many tokens as examples": (BatchSecond, (4, 4, 8)),
    "windows": (Upsampling, (4, 2, 9)),
}
nets = pytest.mark.parametrize("name", NETS)


def _loss(output: Tensor) -> Tensor:
    """Return a mean over examples that depends on which is which."""
    weights = torch.linspace(0.5, 2.0, output.size(1))
    return (output * weights).tanh().square().sum(1).mean()


def _make(name: str, criterion: Any) -> tuple[PrunableNetwork, Tensor]:
    build, shape = NETS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module, x = randomise(build()).eval(), torch.randn(shape)
    return PrunableNetwork(module, x[:2], criterion=criterion), x


@nets
def test_gates_are_the_gradients_of_single_examples(name: str) -> None:
    """Those of a mini-batch are what each example's own backward pass gives for the weights that read the units."""
    network, x = _make(name, Watching())
    _loss(network(x)).backward()
    network.update_score()
    gates = network.criterion.gates
    assert gates.shape == (len(x), network.support.size)
    assert (gates.abs().amax(0) > 0).any()
    torch.testing.assert_close(gates.mean(0), network.criterion.sums, rtol=1e-3, atol=1e-6)
    for gate, one in zip(gates, x, strict=True):
        network.module.zero_grad()
        _loss(network(one[None])).backward()
        network.update_score()
        torch.testing.assert_close(gate, network.criterion.sums, rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(gate[None], network.criterion.gates, rtol=1e-3, atol=1e-6)


@nets
def test_the_network_is_not_changed_by_watching(name: str) -> None:
    watched, x = _make(name, "fisher")
    plain, _ = _make(name, "taylor")
    results = []
    for network in (watched, plain):
        output = network(x)
        _loss(output).backward()
        network.update_score()
        network.prune_to(0.2)
        again = network(x)
        results.append((output, [parameter.grad for parameter in network.module.parameters()], again.shape))
    torch.testing.assert_close(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])
    smaller = watched.compact()
    assert "forward" not in vars(smaller)
    torch.testing.assert_close(smaller(x), watched(x), rtol=1e-4, atol=1e-5)


def test_definitions() -> None:
    """All criteria that look at gates or activations, by a network that is small enough for formulas."""
    module = nn.Sequential(nn.Conv2d(1, 3, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    x = torch.randn(5, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    read = module[1](module[0](x)).detach().requires_grad_()
    (len(x) * _loss(module[3](read.flatten(1)))).backward()
    terms = (read * read.grad).detach()  # (5, 3, 2, 2)
    activations = read.detach()
    gates = terms.sum((2, 3))
    mean_gates = terms.mean((2, 3)).abs().mean(0)
    expected = {
        "taylor_activation": mean_gates / mean_gates.norm(),
        "taylor_per_example": gates.abs().mean(0),
        "fisher": gates.square().mean(0) / 2,
        "mean_activation": activations.mean((0, 2, 3)),
        "apoz": (activations != 0).float().mean((0, 2, 3)),
    }
    for name, values in expected.items():
        network = PrunableNetwork(module, x[:1], criterion=name)
        for half in (x[:1], x[1:]) if name not in ("mean_activation", "apoz") else (x,):
            network.module.zero_grad()
            # each mini-batch has its own mean; examples count alike
            _loss(network(half)).backward()
            network.update_score()
        np.testing.assert_allclose(network.importances, values.numpy(), rtol=1e-4, err_msg=name)


def test_what_several_weights_read() -> None:
    """Activations of a residual stream are averaged over all that is read of it."""

    class Stream(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.one, self.two = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 2, 1), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(self.stem(x))
            return self.one(x).mean((2, 3)) + self.two(x.mean((2, 3)))

    module, x = Stream(), torch.randn(3, 1, 2, 2)
    network = PrunableNetwork(module, x, criterion="mean_activation")
    network(x)
    network.update_score()
    read = F.relu(module.stem(x)).detach()
    expected = (4 * read.mean((0, 2, 3)) + read.mean((2, 3)).mean(0)) / 5
    np.testing.assert_allclose(network.importances, expected.numpy(), rtol=1e-4)


def test_gradients_of_several_backward_passes() -> None:
    network, x = _make("plain", Watching())
    _loss(network(x)).backward()
    network.update_score()
    whole = network.criterion.gates
    network.module.zero_grad()
    _loss(network(x)).backward()  # never scored, and its gradients are thrown away
    network.module.zero_grad()
    for half in x.split(3):
        (_loss(network(half)) / 2).backward()
    network.update_score()
    torch.testing.assert_close(network.criterion.gates.float(), whole.float())  # single precision, split otherwise
    with torch.no_grad():
        network(x)
    with pytest.raises(TrainingError, match="needs the gradients of activations and found none"):
        network.update_score()


@nets
def test_a_graph_that_is_run_twice_counts_twice(name: str) -> None:
    network, x = _make(name, Watching())
    loss = _loss(network(x))
    loss.backward(retain_graph=True)
    loss.backward()
    network.update_score()
    once, _ = _make(name, Watching())
    _loss(once(x)).backward()
    once.update_score()
    torch.testing.assert_close(network.criterion.gates, 2 * once.criterion.gates, rtol=1e-5, atol=1e-6)


def test_activations_are_let_go_in_the_backward_pass() -> None:
    """As autograd does with what it saved, though the loss, and with it the graph, lives on."""
    network, x = _make("plain", Watching())
    loss = _loss(network(x))
    assert network._gates is not None
    seen: list[Any] = []
    network._gates._add = lambda one, read, add=network._gates._add: (seen.append(one), add(one, read))
    loss.backward()
    assert len(seen) == 2
    assert not any(one.data for one in seen)
    assert loss.grad_fn is not None


def test_frozen_layers_are_watched() -> None:
    """Also where nothing that comes before a weight has gradients."""
    trained, x = _make("residual", Watching())
    _loss(trained(x)).backward()
    trained.update_score()
    module = trained.compact()
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name.startswith("head"))
    frozen = PrunableNetwork(module, x[:2], criterion=Watching())
    _loss(frozen(x)).backward()
    frozen.update_score()
    torch.testing.assert_close(frozen.criterion.gates, trained.criterion.gates)


def test_half_precision() -> None:
    """Terms and sums are at least float32."""
    network, x = _make("plain", Watching())
    with torch.autocast("cpu", torch.bfloat16):
        _loss(network(x).float()).backward()
    network.update_score()
    whole, _ = _make("plain", Watching())
    _loss(whole(x)).backward()
    whole.update_score()
    assert network.criterion.gates.dtype == torch.float64
    torch.testing.assert_close(network.criterion.gates, whole.criterion.gates, rtol=0.1, atol=0.02)


def test_interrupted_forward_passes_leave_nothing_behind() -> None:
    pressed = []

    class Interrupting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if pressed:
                raise KeyboardInterrupt
            return x

    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), Interrupting(), nn.Linear(4, 2)).eval()
    network = PrunableNetwork(module, torch.randn(2, 3), criterion="fisher")
    pressed.append("Ctrl-C")
    depth = len(_get_current_function_mode_stack())
    with pytest.raises(KeyboardInterrupt):
        network(torch.randn(2, 3))
    assert len(_get_current_function_mode_stack()) == depth


class Reentrant(nn.Module):
    """Recomputes its middle in the backward pass."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.stem, self.body, self.head = nn.Linear(3, 6), nn.Sequential(nn.Linear(6, 5), nn.ReLU()), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(checkpoint(self.body, F.relu(self.stem(x)), use_reentrant=self.reentrant))


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_checkpoints() -> None:
    module, x = randomise(Reentrant(False)), torch.randn(4, 3)
    seen = []
    for reentrant in (False, True):
        module.reentrant = reentrant
        network = PrunableNetwork(module, x, criterion=Watching())
        _loss(network(x)).backward()
        if reentrant:
            with pytest.raises(TrainingError, match=r"what 'body.0.weight' reads.*use_reentrant=False"):
                network.update_score()
        else:
            network.update_score()
            torch.testing.assert_close(network.criterion.gates.mean(0), network.criterion.sums)
            seen.append(network.criterion.gates)
    assert len(seen) == 1


def test_what_cannot_be_seen_is_refused() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = nn.LSTM(3, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.rnn(x)[0])

    with pytest.raises(ParameterError, match=r"what 'rnn.weight_hh_l0' reads cannot be seen.*lstm.*Got 'fisher' ins"):
        PrunableNetwork(Recurrent(), torch.randn(5, 2, 3), criterion="fisher")
    network = PrunableNetwork(Recurrent(), torch.randn(5, 2, 3), criterion="taylor2")
    for _ in range(2):
        network.module.zero_grad()
        _loss(network(torch.randn(5, 2, 3)).flatten(1)).backward()
        network.update_score()
    assert np.isfinite(network.importances).all()
    assert network.criterion.together().factor.shape == (2, network.num_prunables)  # of mini-batches


def test_examples_that_mix_are_refused() -> None:
    class Mixing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(F.relu(self.first(x)).cumsum(0))

    with pytest.raises(ParameterError, match=r"cannot be told which example is which in what 'last.weight' reads"):
        PrunableNetwork(Mixing(), torch.randn(3, 3), criterion="taylor_activation")
    one = PrunableNetwork(Mixing(), torch.randn(1, 3), criterion="taylor_activation")
    with pytest.raises(ParameterError, match="which example is which"):
        one(torch.randn(3, 3))
    network = PrunableNetwork(Mixing(), torch.randn(3, 3), criterion="mean_activation")
    network(torch.randn(3, 3))
    network.update_score()
    assert np.isfinite(network.importances).all()


def test_numbers_that_are_not_finite_are_named() -> None:
    network, x = _make("plain", "fisher")
    x[0, 0, 0, 0] = torch.nan
    _loss(network(x)).backward()
    with pytest.raises(TrainingError, match=r"Got NaN or infinity in what 'conv2.weight' reads instead"):
        network.update_score()
    with torch.no_grad():
        network.module.conv1.weight[3, 0, 0, 0] = torch.inf
    plain = PrunableNetwork(network.compact(verify=False), x, criterion="magnitude")
    with pytest.raises(TrainingError, match=r"'magnitude' must give finite importances. Got inf for .*'conv1'"):
        plain.importances  # noqa: B018


def test_examples_are_told_apart_when_they_come() -> None:
    """A criterion that can do without single examples runs nothing before, and does without where that fails."""

    class Wary(nn.Module):
        def __init__(self, least: int) -> None:
            super().__init__()
            self.least, self.first, self.last = least, nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            if type(x) is Tensor and not x.is_meta and len(x) < self.least:
                raise ValueError("too few examples")
            return self.last(F.relu(self.first(x)))

    for least, seen in ((0, True), (3, False)):
        network = PrunableNetwork(Wary(least), torch.randn(4, 3), criterion="taylor2")
        for _ in range(2):
            network.module.zero_grad()
            _loss(network(torch.randn(5, 3))).backward()
            network.update_score()
        assert np.isfinite(network.importances).all()
        assert len(network.criterion.together().factor) == (10 if seen else 2)
    with pytest.raises(ParameterError, match=r"does not run on two examples .*too few examples"):
        PrunableNetwork(Wary(3), torch.randn(4, 3), criterion="fisher")


def test_networks_without_memory() -> None:
    module = dense_net().to("meta")
    for criterion in ("taylor2", "fisher"):
        assert PrunableNetwork(module, torch.randn(4, 6, device="meta"), criterion=criterion).num_prunables == 13
