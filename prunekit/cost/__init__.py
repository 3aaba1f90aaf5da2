"""Costs of a network: parameters, multiply-adds, memory, measured time."""

from prunekit.cost._latency import count_params, measure_latency_ms, module_latency_us
from prunekit.cost._layers import COLUMNS, layer_table
from prunekit.cost._model import RESOURCES, CostModel, Costs, Resource

__all__ = [
    "COLUMNS",
    "RESOURCES",
    "CostModel",
    "Costs",
    "Resource",
    "count_params",
    "layer_table",
    "measure_latency_ms",
    "module_latency_us",
]
