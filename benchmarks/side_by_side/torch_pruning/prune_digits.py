"""The experiment in the way of Torch-Pruning's own examples: one script, a mode to train and a mode to prune.

Run:  PYTHONPATH=../network python prune_digits.py --mode train
      PYTHONPATH=../network python prune_digits.py --mode prune
"""

import argparse
import copy
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import torch_pruning as tp
from convnet import ConvNet
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.benchmark import Timer
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--mode", required=True, choices=["train", "prune"])
parser.add_argument("--output", type=Path, default=Path("runs/digits"))
parser.add_argument("--data", help="a .npz file with X and y instead of scikit-learn's digits")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--lr", type=float, default=0.01)
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--total-epochs", type=int, default=20)
parser.add_argument("--target-reduction", type=float, default=0.9)
parser.add_argument("--max-score-drop", type=float, default=0.01)
parser.add_argument("--pruning-steps", type=int, default=10)
parser.add_argument("--iterative-steps", type=int, default=200)
parser.add_argument("--finetune-epochs", type=int, default=3)
parser.add_argument("--final-epochs", type=int, default=5)
args = parser.parse_args()


def get_datasets():
    if args.data:
        arrays = np.load(args.data)
        X, y = arrays["X"], arrays["y"]
    else:
        X, y = load_digits(return_X_y=True)
        X = X.reshape(-1, 1, 8, 8) / 16
    X_rest, X_test, y_rest, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=args.seed)
    X_train, X_val, y_train, y_val = train_test_split(
        X_rest, y_rest, test_size=0.2, stratify=y_rest, random_state=args.seed
    )
    parts = [(X_train, y_train), (X_val, y_val), (X_test, y_test)]
    return [TensorDataset(torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(y)) for X, y in parts]


@torch.no_grad()
def evaluate(model, dataset):
    model.eval()
    X, y = dataset.tensors
    return (model(X).argmax(1) == y).float().mean().item()


def train_model(model, train_loader, epochs, name):
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
    model.train()
    for epoch in range(epochs):
        for X, y in train_loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(X), y)
            loss.backward()
            optimizer.step()
        print(f"{name}: epoch {epoch + 1}/{epochs}, loss={loss.item():.4f}", flush=True)


def prune_to(pruner, model, train_loader, max_params):
    while tp.utils.count_params(model) > max_params and pruner.current_step < pruner.iterative_steps:
        model.zero_grad()
        for _, (X, y) in zip(range(5), train_loader, strict=False):
            F.cross_entropy(model(X), y).backward()
        pruner.step()


def benchmark(model, path, test_set, example_inputs):
    accuracy = evaluate(model, test_set)
    torch.save(model, path)
    macs, params = tp.utils.count_ops_and_params(model, example_inputs)
    latency = {}
    for size in (1, 32):
        timer = Timer("model(X)", globals={"model": model, "X": test_set.tensors[0][:size]})
        with torch.no_grad():
            latency[size] = 1000 * timer.blocked_autorange(min_run_time=0.2).median
    return {
        "test_accuracy": accuracy,
        "params": int(params),
        "macs": int(macs),
        "file_bytes": path.stat().st_size,
        "latency_ms": latency,
    }


def main():
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    args.output.mkdir(parents=True, exist_ok=True)
    train_set, val_set, test_set = get_datasets()
    train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True)
    if args.mode == "train":
        model = ConvNet([32, 32, 64, 64, 128, 128])
        train_model(model, train_loader, args.total_epochs, "dense")
        torch.save(model, args.output / "dense.pth")
        return

    model = torch.load(args.output / "dense.pth", weights_only=False)
    dense = copy.deepcopy(model)
    example_inputs = torch.randn(1, 1, 8, 8)
    pruner = tp.pruner.BasePruner(
        model,
        example_inputs,
        importance=tp.importance.GroupTaylorImportance(),
        global_pruning=True,
        pruning_ratio=1.0,
        iterative_steps=args.iterative_steps,
        ignored_layers=[model.linear],
    )
    base_params, base_accuracy = tp.utils.count_params(model), evaluate(model, val_set)
    best, history = copy.deepcopy(model), []
    for step in range(1, args.pruning_steps + 1):
        target = args.target_reduction * (1 - (1 - step / args.pruning_steps) ** 3)
        prune_to(pruner, model, train_loader, (1 - target) * base_params)
        train_model(model, train_loader, args.finetune_epochs, f"step {step}")
        accuracy = evaluate(model, val_set)
        history.append({"step": step, "params": tp.utils.count_params(model), "accuracy": accuracy})
        print(history[-1], flush=True)
        if accuracy < base_accuracy - args.max_score_drop:
            break
        best = copy.deepcopy(model)
    train_model(best, train_loader, args.final_epochs, "final")
    metrics = {
        "dense": benchmark(dense, args.output / "dense.pth", test_set, example_inputs),
        "pruned": benchmark(best, args.output / "pruned.pth", test_set, example_inputs),
    }
    convs = [(name, m) for name, m in best.named_modules() if isinstance(m, torch.nn.Conv2d)]
    layers = [{"layer": name, "filters": m.out_channels} for name, m in convs]
    pd.DataFrame(layers).to_csv(args.output / "layers.csv", index=False)
    pd.DataFrame(history).to_csv(args.output / "history.csv", index=False)
    (args.output / "metrics.json").write_text(json.dumps(metrics, indent=2))
    print(json.dumps(metrics, indent=2))


if __name__ == "__main__":
    main()
