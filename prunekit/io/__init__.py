"""Files: a pruned network as weights and plan, without pickle."""

from prunekit.io._safetensors import load, save

__all__ = ["load", "save"]
