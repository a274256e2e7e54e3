"""From a Relax module to an executable for one CPU: layouts, packed products, fusion, schedules, memory plan."""

from __future__ import annotations

from npuopt.delegates.host import tvm_math
from npuopt.delegates.host.tvm_api import CpuTarget, Executable, Module, Pass, relax, tvm
from npuopt.delegates.host.tvm_layout import move_channels_last
from npuopt.delegates.host.tvm_legalize import legalization_rules
from npuopt.delegates.host.tvm_schedule import schedule_module
from npuopt.delegates.host.tvm_tiles import VectorUnit


def vector_unit(target: CpuTarget) -> VectorUnit:
    """The vector registers of an LLVM target, by the features of its CPU."""
    features = tvm.target.codegen.llvm_get_cpu_features(target)
    if "avx512f" in features:
        return VectorUnit(lanes=16, registers=32)
    if "avx2" in features:
        return VectorUnit(lanes=8, registers=16)
    if "neon" in features:
        return VectorUnit(lanes=4, registers=32)
    return VectorUnit(lanes=4, registers=16)


def make_target(triple: str, cpu: str, features: tuple[str, ...] = ()) -> CpuTarget:
    """The TVM target of an LLVM triple, CPU name and feature list such as `+avx2`."""
    description: dict[str, str | list[str]] = {"kind": "llvm", "mtriple": triple, "mcpu": cpu}
    if features:
        description["mattr"] = list(features)
    return tvm.target.Target(description)


def build(module: Module, target: CpuTarget) -> tuple[Executable, list[str]]:
    """Compile an imported module.

    Returns:
        The executable, and the names of the functions that TVM would not schedule as planned.
    """
    tvm_math.install()
    unit = vector_unit(target)
    with target:
        module = tvm.transform.Sequential(_graph_passes() + _fusion_passes(unit))(module)
        module, plain = schedule_module(module, unit.lanes)
        module = tvm.transform.Sequential(_lowering_passes())(module)
    return tvm.compile(module, target=target, relax_pipeline=tvm.transform.Sequential([])), plain


def _graph_passes() -> list[Pass]:
    return [
        relax.transform.DecomposeOpsForInference(),
        relax.transform.CanonicalizeBindings(),
        relax.transform.FoldConstant(),
        tvm.transform.module_pass(_move_channels_last, opt_level=0, name="MoveChannelsLast"),
        relax.transform.CanonicalizeBindings(),
        relax.transform.FoldConstant(),
        relax.transform.EliminateCommonSubexpr(),
        relax.transform.DeadCodeElimination(),
    ]


def _move_channels_last(module: Module, _context: object) -> Module:
    return move_channels_last(module)


def _fusion_passes(unit: VectorUnit) -> list[Pass]:
    return [
        relax.backend.DispatchSortScan(),
        relax.transform.LegalizeOps(legalization_rules(unit)),
        relax.transform.AnnotateTIROpPattern(),
        relax.transform.FoldConstant(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
    ]


def _lowering_passes() -> list[Pass]:
    return [
        relax.transform.RewriteDataflowReshape(),
        relax.transform.ToNonDataflow(),
        relax.transform.RemovePurityChecking(),
        relax.transform.CallTIRRewrite(),
        relax.transform.StaticPlanBlockMemory(),
        relax.transform.LowerAllocTensor(),
        relax.transform.KillAfterLastUse(),
        relax.transform.LowerRuntimeBuiltin(),
        relax.transform.ComputePrimValue(),
        relax.transform.VMShapeLower(),
        relax.transform.AttachGlobalSymbol(),
    ]
