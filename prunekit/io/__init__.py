"""Files: pruned networks and runs to go on from, as numbers and JSON, without pickle."""

from prunekit.io._archive import Archive, read_archive, understood, write_archive
from prunekit.io._fingerprint import fingerprint
from prunekit.io._modules import load, module_archive, module_from, read_plan, stored_tensors
from prunekit.io._probe import given_inputs, inputs_of_user
from prunekit.io._state import BROKEN, read_state, write_state
from prunekit.io._store import StateStore, open_store

__all__ = [
    "BROKEN",
    "Archive",
    "StateStore",
    "fingerprint",
    "given_inputs",
    "inputs_of_user",
    "load",
    "module_archive",
    "module_from",
    "open_store",
    "read_archive",
    "read_plan",
    "read_state",
    "stored_tensors",
    "understood",
    "write_archive",
    "write_state",
]
