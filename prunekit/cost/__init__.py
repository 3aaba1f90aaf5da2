"""Costs of a network: parameters, multiply-adds, memory, measured time."""

from prunekit.cost._latency import count_params, latency_ratio, measure_latency_ms, module_latency_us
from prunekit.cost._latency_model import LatencyModel
from prunekit.cost._layers import COLUMNS, dense_counts, layer_table, totals
from prunekit.cost._model import QUANTITIES, RESOURCE_WORDS, RESOURCES, CostModel, Costs, Quantity, Resource

__all__ = [
    "COLUMNS",
    "QUANTITIES",
    "RESOURCES",
    "RESOURCE_WORDS",
    "CostModel",
    "Costs",
    "LatencyModel",
    "Quantity",
    "Resource",
    "count_params",
    "dense_counts",
    "latency_ratio",
    "layer_table",
    "measure_latency_ms",
    "module_latency_us",
    "totals",
]
