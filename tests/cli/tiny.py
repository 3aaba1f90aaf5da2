"""A pipeline file that runs in a second."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE = """\
name: tiny
data: {source: digits, test_size: 0.5}
net:
  module: {name: ConvNet, widths: [8, 16], depth: 1}
  lr: 0.01
  max_epochs: 2
prune: {target_reduction: 0.4, step: 0.2, final_epochs: 0}
compute: {threads: 1}
outputs: {latency_batch_sizes: [2]}
"""
COMMANDS = ("run", "validate", "show", "analyze", "compare", "report", "list", "schema")
