"""Partition: which part of the graph runs where, in which order, and why."""

from npuopt.partition.cost import NodeCost, RegionCost, estimate
from npuopt.partition.extract import extract_region, save_refused
from npuopt.partition.macs import macs
from npuopt.partition.memory_plan import MemoryPlan, plan_memory
from npuopt.partition.partition import MIN_MACS, MIN_NODES, partition
from npuopt.partition.plan import Part, Placement, Plan, Summary

__all__ = [
    "MIN_MACS",
    "MIN_NODES",
    "MemoryPlan",
    "NodeCost",
    "Part",
    "Placement",
    "Plan",
    "RegionCost",
    "Summary",
    "estimate",
    "extract_region",
    "macs",
    "partition",
    "plan_memory",
    "save_refused",
]
