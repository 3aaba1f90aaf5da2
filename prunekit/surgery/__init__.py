"""Surgery: plans, masks, the compacted network and the proof that it can be built."""

from prunekit.surgery.attributes import Repair
from prunekit.surgery.compaction import compact
from prunekit.surgery.masks import Masks
from prunekit.surgery.plan import AttributeChange, KeptIndices, PruningPlan, make_plan
from prunekit.surgery.probe import Failure, probe, prove
from prunekit.surgery.selection import Constraints, Selector

__all__ = [
    "AttributeChange",
    "Constraints",
    "Failure",
    "KeptIndices",
    "Masks",
    "PruningPlan",
    "Repair",
    "Selector",
    "compact",
    "make_plan",
    "probe",
    "prove",
]
