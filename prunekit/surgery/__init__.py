"""Surgery: plans, masks, the compacted network and the proof that it can be built."""

from prunekit.surgery.attributes import Repair
from prunekit.surgery.body import Body, NetworkSnapshot
from prunekit.surgery.compaction import compact
from prunekit.surgery.comparison import compare, evaluate, relative_difference, rounding_of, tolerance_for
from prunekit.surgery.masks import Masks
from prunekit.surgery.norms import NORMS, MaskedNorms, Norms
from prunekit.surgery.notes import note_, noted_inputs, noted_plan
from prunekit.surgery.plan import AttributeChange, KeptIndices, PruningPlan, make_plan
from prunekit.surgery.probe import prove
from prunekit.surgery.probing import Failure, probe
from prunekit.surgery.prunability import Patterns, check_module, prove_units, what_blocks
from prunekit.surgery.selection import Constraints, Ranking, Selector

__all__ = [
    "NORMS",
    "AttributeChange",
    "Body",
    "Constraints",
    "Failure",
    "KeptIndices",
    "MaskedNorms",
    "Masks",
    "NetworkSnapshot",
    "Norms",
    "Patterns",
    "PruningPlan",
    "Ranking",
    "Repair",
    "Selector",
    "check_module",
    "compact",
    "compare",
    "evaluate",
    "make_plan",
    "note_",
    "noted_inputs",
    "noted_plan",
    "probe",
    "prove",
    "prove_units",
    "relative_difference",
    "rounding_of",
    "tolerance_for",
    "what_blocks",
]
