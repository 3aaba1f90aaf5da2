"""One HTML file that shows a network: what it costs, what could be pruned, what pruning did."""

from prunekit.reporting._content import ReportContent
from prunekit.reporting._folder import content_of_run, read_layers
from prunekit.reporting._page import write_report
from prunekit.reporting._report import report
from prunekit.reporting._sources import collect_content

__all__ = ["ReportContent", "collect_content", "content_of_run", "read_layers", "report", "write_report"]
