# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# ^ runs in an environment of its own, whose packages the checker does not see; only the worker imports this file.
"""Reads a written Core ML package back: its operations and its weights."""

from collections import Counter
from pathlib import Path

import coremltools as ct
import numpy as np
from coremltools.libmilstoragepython import _BlobStorageReader
from coremltools.proto import MIL_pb2

READERS = {
    MIL_pb2.FLOAT16: ("read_fp16_data", np.uint16),
    MIL_pb2.FLOAT32: ("read_float_data", np.float32),
    MIL_pb2.INT8: ("read_int8_data", np.int8),
    MIL_pb2.UINT8: ("read_uint8_data", np.uint8),
    MIL_pb2.INT4: ("read_int4_data", np.int8),
    MIL_pb2.UINT4: ("read_uint4_data", np.uint8),
    MIL_pb2.UINT6: ("read_uint6_data", np.uint8),
    MIL_pb2.UINT2: ("read_uint2_data", np.uint8),
    MIL_pb2.UINT1: ("read_uint1_data", np.uint8),
}


def read_package(package: Path) -> dict:
    """Count the operations of a package by type, and return the bytes of its weights as a set, with their sizes."""
    spec = ct.models.utils.load_spec(str(package))
    (block,) = spec.mlProgram.functions["main"].block_specializations.values()
    blobs = package / "Data" / "com.apple.CoreML" / "weights" / "weight.bin"
    reader = _BlobStorageReader(str(blobs)) if blobs.is_file() else None
    operations, weights, sizes = Counter(), set(), Counter()
    for operation in block.operations:
        operations[operation.type] += operation.type != "const"
        bound = [one.value for given in operation.inputs.values() for one in given.arguments if one.HasField("value")]
        for value in (*operation.attributes.values(), *bound):
            if reader is None or value.WhichOneof("value") != "blobFileValue":
                continue
            kind = value.type.tensorType.dataType
            method, dtype = READERS[kind]
            array = np.asarray(getattr(reader, method)(value.blobFileValue.offset)).astype(dtype)
            weights.add(array.tobytes())
            sizes[MIL_pb2.DataType.Name(kind).lower()] += array.size
    return {"operations": {name: n for name, n in sorted(operations.items()) if n}, "weights": weights, "sizes": sizes}
