"""Files: pruned networks and runs to go on from, as numbers and JSON, without pickle."""

from prunekit.io._fingerprint import fingerprint
from prunekit.io._safetensors import load, save
from prunekit.io._state import read_state, write_state

__all__ = ["fingerprint", "load", "read_state", "save", "write_state"]
