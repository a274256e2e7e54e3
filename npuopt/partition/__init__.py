"""Partition: which part of the graph runs where, in which order, and why."""

from npuopt.partition.extract import extract_region, save_refused
from npuopt.partition.macs import macs
from npuopt.partition.partition import MIN_MACS, MIN_NODES, partition
from npuopt.partition.plan import Part, Placement, Plan, Summary

__all__ = [
    "MIN_MACS",
    "MIN_NODES",
    "Part",
    "Placement",
    "Plan",
    "Summary",
    "extract_region",
    "macs",
    "partition",
    "save_refused",
]
