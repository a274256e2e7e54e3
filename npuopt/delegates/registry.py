"""Finds the delegate of a road, without importing any other."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, cast

from npuopt.errors import ToolchainMissingError, UsageError

if TYPE_CHECKING:
    from npuopt.delegates.contract import Delegate

ROADS = {
    "qnn": "npuopt.delegates.qnn.delegate:QnnDelegate",
    "openvino": "npuopt.delegates.openvino.delegate:OpenVinoDelegate",
    "ethosu": "npuopt.delegates.ethosu.delegate:EthosUDelegate",
    "tosa": "npuopt.delegates.tosa.delegate:TosaDelegate",
    "nnapi": "npuopt.delegates.nnapi.delegate:NnapiDelegate",
    "vitisai": "npuopt.delegates.vitisai.delegate:VitisAiDelegate",
    "coreml": "npuopt.delegates.coreml.delegate:CoreMlDelegate",
    "rknn": "npuopt.delegates.rknn.delegate:RknnDelegate",
    "imx500": "npuopt.delegates.imx500.delegate:Imx500Delegate",
    "espressif": "npuopt.delegates.post_training.delegate:EspressifDelegate",
    "kendryte": "npuopt.delegates.post_training.delegate:KendryteDelegate",
    "tvm": "npuopt.delegates.host.tvm_delegate:TvmDelegate",
    "iree": "npuopt.delegates.iree.delegate:IreeDelegate",
    "ort": "npuopt.delegates.host.ort_delegate:OrtDelegate",
    "litert": "npuopt.delegates.litert.delegate:LiteRtDelegate",
    "litert-aot": "npuopt.delegates.tflite_vendors.aot:LiteRtAotDelegate",
    "edgetpu": "npuopt.delegates.tflite_vendors.edgetpu:EdgeTpuDelegate",
}


def find_delegate(road: str) -> Delegate:
    """Return the delegate of a road: npuopt's own, or one of an `npuopt.delegates` entry point.

    Raises:
        UsageError: when no delegate is called so.
        ToolchainMissingError: when a plug-in's delegate does not import.
    """
    if road in ROADS:
        module, _, name = ROADS[road].partition(":")
        return cast("Delegate", getattr(importlib.import_module(module), name)())
    plug_ins = {entry.name: entry for entry in entry_points(group="npuopt.delegates")}
    if road in plug_ins:
        entry = plug_ins[road]
        try:
            return cast("Delegate", entry.load()())
        except Exception as error:
            raise ToolchainMissingError(
                f"does not import: {type(error).__name__}: {error}",
                where=f"plug-in {entry.value}",
                hint="update or reinstall the package that offers it",
            ) from error
    known = ", ".join(sorted({*ROADS, *plug_ins}))
    raise UsageError(f"there is no delegate for the road {road!r}", hint=f"known roads: {known}")
