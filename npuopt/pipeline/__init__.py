"""The pipeline: what a pass is, the catalogue of passes, and the runner that checks each of them."""

from npuopt.pipeline.contract import Changed, Declined, Lowering, NodePass, Outcome, Pass
from npuopt.pipeline.report import Entry, Report

__all__ = ["Changed", "Declined", "Entry", "Lowering", "NodePass", "Outcome", "Pass", "Report"]
