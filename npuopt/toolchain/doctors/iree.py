# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# ^ runs in an environment of its own, whose packages the checker does not see; nothing imports this file.
"""Compiles one absolute value for this processor and runs it: REQUEST is an empty object, ANSWER says the version."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from iree import runtime
from iree.compiler.api import Output, Session, Source

SOURCE = b"""
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = math.absf %x : tensor<4xf32>
  return %y : tensor<4xf32>
}
"""
FLAGS = (
    "--iree-hal-target-device=local",
    "--iree-hal-local-target-device-backends=llvm-cpu",
    "--iree-llvmcpu-target-cpu=generic",
)


def main() -> None:
    """Compile it, run it, and check what it made."""
    session = Session()
    session.set_flags(*FLAGS)
    invocation = session.invocation()
    invocation.enable_console_diagnostics()
    invocation.parse_source(Source.wrap_buffer(session, SOURCE + b"\0"))
    invocation.execute()
    output = Output.open_membuffer()
    invocation.output_vm_bytecode(output)
    module = bytes(output.map_memory())
    config = runtime.Config("local-sync")
    loaded = runtime.load_vm_module(runtime.VmModule.copy_buffer(config.vm_instance, module), config)
    made = loaded["main"](np.array([-2, -1, 1, 2], np.float32)).to_host()
    answer = {"version": version("iree-base-compiler")}
    if made.tolist() != [2, 1, 1, 2]:
        answer["refused"] = f"the absolute value made {made.tolist()}"
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
