"""Channel labels: run a network once and learn which parts of its parameters can only be removed together."""

from prunekit.tracing._call import tensors_in
from prunekit.tracing._copy import copy_module, has_memory
from prunekit.tracing._descriptions import data_type, describe_inputs, make_inputs
from prunekit.tracing._factors import tracked
from prunekit.tracing._flow import Coupling, Flow, FlowNode, coupled_layers, data_flow
from prunekit.tracing._inputs import Inputs, duplicate_inputs
from prunekit.tracing._labels import MISPLACED, CheckingTable, LabelConflictError, LabelTable
from prunekit.tracing._map import NetworkMap, map_network
from prunekit.tracing._modes import eval_mode, same_buffers
from prunekit.tracing._outputs import (
    OF_EVERY_MODULE,
    named_outputs,
    named_parts,
    named_tensors,
    shared_names,
    tensors_of,
)
from prunekit.tracing._reason import Reason
from prunekit.tracing._records import LabelStore, OperationRecord, RunRecord
from prunekit.tracing._sandbox import Sandbox, device_of
from prunekit.tracing._trace import Axis, HeldAxis, Trace, describe_misfit, trace
from prunekit.tracing._tracer import Tracer
from prunekit.tracing._units import Group, Role, Slice, Unit, UnitGraph

__all__ = [
    "MISPLACED",
    "OF_EVERY_MODULE",
    "Axis",
    "CheckingTable",
    "Coupling",
    "Flow",
    "FlowNode",
    "Group",
    "HeldAxis",
    "Inputs",
    "LabelConflictError",
    "LabelStore",
    "LabelTable",
    "NetworkMap",
    "OperationRecord",
    "Reason",
    "Role",
    "RunRecord",
    "Sandbox",
    "Slice",
    "Trace",
    "Tracer",
    "Unit",
    "UnitGraph",
    "copy_module",
    "coupled_layers",
    "data_flow",
    "data_type",
    "describe_inputs",
    "describe_misfit",
    "device_of",
    "duplicate_inputs",
    "eval_mode",
    "has_memory",
    "make_inputs",
    "map_network",
    "named_outputs",
    "named_parts",
    "named_tensors",
    "same_buffers",
    "shared_names",
    "tensors_in",
    "tensors_of",
    "trace",
    "tracked",
]
