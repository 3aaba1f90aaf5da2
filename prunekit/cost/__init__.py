"""Costs of a network: parameters, multiply-adds, memory, measured time."""

from prunekit.cost._latency import count_params, latency_ratio, measure_latency_ms, module_latency_us
from prunekit.cost._latency_model import LatencyModel
from prunekit.cost._layers import COLUMNS, layer_table, totals
from prunekit.cost._model import QUANTITIES, RESOURCES, CostModel, Costs, Quantity, Resource

__all__ = [
    "COLUMNS",
    "QUANTITIES",
    "RESOURCES",
    "CostModel",
    "Costs",
    "LatencyModel",
    "Quantity",
    "Resource",
    "count_params",
    "latency_ratio",
    "layer_table",
    "measure_latency_ms",
    "module_latency_us",
    "totals",
]
