"""Files: pruned networks and runs to go on from, as numbers and JSON, without pickle."""

from prunekit.io._fingerprint import fingerprint
from prunekit.io._safetensors import load, save
from prunekit.io._state import read_state, write_state
from prunekit.io._store import StateStore, open_store

__all__ = ["StateStore", "fingerprint", "load", "open_store", "read_state", "save", "write_state"]
