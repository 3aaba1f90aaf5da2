"""The experiment with Hydra for the settings and PyTorch for the rest.

Run:  PYTHONPATH=../network python main.py
"""

import copy
import json
import logging
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pandas as pd
import torch
from convnet import ConvNet
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import MISSING
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.benchmark import Timer
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

log = logging.getLogger(__name__)


class Step(Enum):
    linear = 1
    cubic = 3


@dataclass
class DataConfig:
    path: str | None = None
    test_size: float = MISSING
    validation_size: float = MISSING


@dataclass
class TrainConfig:
    lr: float = MISSING
    max_epochs: int = MISSING
    batch_size: int = MISSING


@dataclass
class PruneConfig:
    target_reduction: float = MISSING
    max_score_drop: float = MISSING
    step: Step = MISSING
    n_iterations: int = MISSING
    score_batches: int = MISSING
    finetune_epochs: int = MISSING
    final_epochs: int = MISSING
    exclude: list[str] = MISSING


@dataclass
class Config:
    seed: int = MISSING
    resume: bool = False
    data: DataConfig = field(default_factory=DataConfig)
    net: dict[str, Any] = MISSING
    optimizer: dict[str, Any] = MISSING
    train: TrainConfig = field(default_factory=TrainConfig)
    prune: PruneConfig = field(default_factory=PruneConfig)
    latency_batch_sizes: list[int] = MISSING


ConfigStore.instance().store(name="schema", node=Config)


def load_data(cfg: Config) -> list[TensorDataset]:
    """Return what is trained on, validated on and tested on."""
    if cfg.data.path is None:
        X, y = load_digits(return_X_y=True)
        X = X.reshape(-1, 1, 8, 8) / 16
    else:
        arrays = np.load(cfg.data.path)
        X, y = arrays["X"], arrays["y"]
    X_rest, X_test, y_rest, y_test = train_test_split(
        X, y, test_size=cfg.data.test_size, stratify=y, random_state=cfg.seed
    )
    X_train, X_valid, y_train, y_valid = train_test_split(
        X_rest, y_rest, test_size=cfg.data.validation_size, stratify=y_rest, random_state=cfg.seed
    )
    parts = (X_train, y_train), (X_valid, y_valid), (X_test, y_test)
    return [TensorDataset(torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(y)) for X, y in parts]


def train(cfg: Config, net: ConvNet, data: TensorDataset, epochs: int, what: str) -> None:
    loader = DataLoader(data, batch_size=cfg.train.batch_size, shuffle=True)
    optimizer = instantiate(cfg.optimizer, params=net.parameters(), lr=cfg.train.lr)
    net.train()
    for epoch in range(epochs):
        total = 0.0
        for X, y in loader:
            optimizer.zero_grad()
            loss = cross_entropy(net(X), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y)
        log.info("%s: epoch %d of %d, loss %.4f", what, epoch + 1, epochs, total / len(data))


@torch.no_grad()
def accuracy(net: ConvNet, data: TensorDataset) -> float:
    X, y = data.tensors
    return (net.eval()(X).argmax(1) == y).float().mean().item()


def pairs(net: ConvNet) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    layers = list(net.features)
    return [(layer, layers[i + 1]) for i, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]


def taylor_scores(cfg: Config, net: ConvNet, data: TensorDataset) -> list[Tensor]:
    """Score channels by the gates of batch norm, as Molchanov et al. 2019."""
    loader = DataLoader(data, batch_size=cfg.train.batch_size, shuffle=True)
    scores = [torch.zeros(conv.out_channels) for conv, _ in pairs(net)]
    net.train()
    for _, (X, y) in zip(range(cfg.prune.score_batches), loader, strict=False):
        net.zero_grad()
        cross_entropy(net(X), y).backward()
        for score, (_, bn) in zip(scores, pairs(net), strict=True):
            score += (bn.weight.grad * bn.weight + bn.bias.grad * bn.bias).detach() ** 2
    return scores


def count_params(widths: list[int]) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in ConvNet(widths).parameters())


def choose(scores: list[Tensor], frozen: set[int], max_params: float) -> list[Tensor]:
    """Return the channels of each convolution that are kept: the lowest scores go until few enough parameters stay."""
    keep = [torch.ones(len(score), dtype=torch.bool) for score in scores]
    ranking = sorted((float(value), i, j) for i, score in enumerate(scores) for j, value in enumerate(score))
    for _, layer, channel in ranking:
        if count_params([int(kept.sum()) for kept in keep]) <= max_params:
            return [kept.nonzero().flatten() for kept in keep]
        if layer not in frozen and keep[layer].sum() > 1:
            keep[layer][channel] = False
    raise RuntimeError(f"no more than {max_params:.0f} parameters: not possible")


def cut(net: ConvNet, keep: list[Tensor]) -> ConvNet:
    """Build the smaller network and copy what stays."""
    small = ConvNet([len(kept) for kept in keep])
    before = torch.arange(1)
    for (conv, bn), (new_conv, new_bn), kept in zip(pairs(net), pairs(small), keep, strict=True):
        new_conv.weight.data = conv.weight.data[kept][:, before].contiguous()  # as it is loaded
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(new_bn, name).data = getattr(bn, name).data[kept]
        before = kept
    small.linear.weight.data = net.linear.weight.data[:, before].contiguous()
    small.linear.bias.data = net.linear.bias.data.clone()
    return small


def packed(net: ConvNet) -> dict[str, Any]:
    return {"widths": [conv.out_channels for conv, _ in pairs(net)], "state": net.state_dict()}


def unpacked(content: dict[str, Any]) -> ConvNet:
    net = ConvNet(content["widths"])
    net.load_state_dict(content["state"])
    return net


def save(content: dict[str, Any], path: Path) -> None:
    partial = path.with_suffix(".part")
    torch.save(content, partial)
    partial.replace(path)


def measure(cfg: Config, net: ConvNet, path: Path, data: TensorDataset) -> dict[str, Any]:
    save(packed(net), path)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.eval()(torch.zeros(1, 1, 8, 8))
    latency = {}
    for size in cfg.latency_batch_sizes:
        timer = Timer("net(X)", globals={"net": net, "X": data.tensors[0][:size]})
        with torch.no_grad():
            latency[size] = 1000 * timer.blocked_autorange(min_run_time=0.2).median
    return {
        "test_accuracy": accuracy(net, data),
        "params": sum(parameter.numel() for parameter in net.parameters()),
        "macs": counter.get_total_flops() // 2,
        "file_bytes": path.stat().st_size,
        "latency_ms": latency,
    }


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: Config) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(cfg.seed)
    out = Path(HydraConfig.get().runtime.output_dir)
    checkpoint = out / "checkpoint.pt"
    training, validation, test = load_data(cfg)
    dense = instantiate(cfg.net)
    frozen = {[conv for conv, _ in pairs(dense)].index(dense.get_submodule(name)) for name in cfg.prune.exclude}
    instantiate(cfg.optimizer, params=dense.parameters(), lr=cfg.train.lr)  # a wrong name or value: now, not later
    if cfg.resume and checkpoint.exists():
        state = torch.load(checkpoint)
        dense, net, history, done = unpacked(state["dense"]), unpacked(state["net"]), state["history"], state["done"]
        torch.set_rng_state(state["rng"])
    else:
        train(cfg, dense, training, cfg.train.max_epochs, "dense")
        net, done = copy.deepcopy(dense), 0  # scoring changes the statistics of batch norm
        history = [{"iteration": 0, "reduction": 0.0, "score": accuracy(dense, validation)}]
    total = sum(parameter.numel() for parameter in dense.parameters())
    stop_reason = "target_reduction"
    for iteration in range(done + 1, cfg.prune.n_iterations + 1):
        rng = torch.get_rng_state()
        state = {"dense": packed(dense), "net": packed(net), "history": history, "done": iteration - 1, "rng": rng}
        save(state, checkpoint)
        left = 1 - iteration / cfg.prune.n_iterations
        aim = cfg.prune.target_reduction * (1 - left**cfg.prune.step.value)
        before = net
        net = cut(net, choose(taylor_scores(cfg, net, training), frozen, (1 - aim) * total))
        epochs = cfg.prune.finetune_epochs
        train(cfg, net, training, epochs, f"step {iteration}")
        score = accuracy(net, validation)
        if score < history[0]["score"] - cfg.prune.max_score_drop:
            net, stop_reason = before, "max_score_drop"
            break
        params = sum(parameter.numel() for parameter in net.parameters())
        history.append({"iteration": iteration, "reduction": 1 - params / total, "score": score})
    train(cfg, net, training, cfg.prune.final_epochs, "final")
    metrics = {
        "stop_reason": stop_reason,
        "dense": measure(cfg, dense, out / "dense.pt", test),
        "pruned": measure(cfg, net, out / "pruned.pt", test),
        "versions": {"torch": torch.__version__, "hydra": hydra.__version__},
    }
    names = [name for name, module in dense.named_modules() if isinstance(module, nn.Conv2d)]
    widths = [packed(one)["widths"] for one in (dense, net)]
    table = pd.DataFrame({"layer": names, "filters_before": widths[0], "filters": widths[1]})
    table.to_csv(out / "layers.csv", index=False)
    pd.DataFrame(history).to_csv(out / "history.csv", index=False)
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2))
    log.info("%s", json.dumps(metrics, indent=2))


if __name__ == "__main__":
    main()
