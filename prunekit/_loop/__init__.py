"""The pruning loop: score, prune, fine-tune, validate, until the target or a threshold ends it."""

from prunekit._loop.checkpoint import Checkpoint, SharedCheckpoint
from prunekit._loop.control import Control, ControlResult
from prunekit._loop.history import Iteration
from prunekit._loop.loop import LoopResult, PruningLoop
from prunekit._loop.progress import Progress
from prunekit._loop.settings import LoopSettings
from prunekit._loop.sharing import Sharing
from prunekit._loop.training import TrainingProgress
from prunekit._loop.visits import HeldOut, Visits

__all__ = [
    "Checkpoint",
    "Control",
    "ControlResult",
    "HeldOut",
    "Iteration",
    "LoopResult",
    "LoopSettings",
    "Progress",
    "PruningLoop",
    "SharedCheckpoint",
    "Sharing",
    "TrainingProgress",
    "Visits",
]
