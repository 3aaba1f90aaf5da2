"""Files: pruned networks and runs to go on from, as numbers and JSON, without pickle."""

from prunekit.io._fingerprint import fingerprint
from prunekit.io._safetensors import load, read_plan, save, stored_tensors
from prunekit.io._state import read_state, write_state
from prunekit.io._store import StateStore, open_store

__all__ = [
    "StateStore",
    "fingerprint",
    "load",
    "open_store",
    "read_plan",
    "read_state",
    "save",
    "stored_tensors",
    "write_state",
]
