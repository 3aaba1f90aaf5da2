"""Files that hold whole nets and fitted pruners; classes are built only if the caller trusts them."""

from prunekit.persistence._load import load_net, load_pruner
from prunekit.persistence._save import save
from prunekit.persistence._trust import untrusted_names

__all__ = ["load_net", "load_pruner", "save", "untrusted_names"]
