"""What a descriptor says of the vendor road that compiles for it."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from npuopt.target.constraints import Facts


class QnnDelegate(Facts):
    """Compiled by the QNN execution provider of ONNX Runtime."""

    road: Literal["qnn"]
    soc_model: int = Field(ge=1, description="The vendor's number of the chip.")
    arch: str = Field(description="Architecture of the accelerator, such as v79.")
    vtcm_mib: int = Field(ge=1, description="On-chip memory that one graph may use, in MiB.")
    dlc: bool | None = Field(
        default=None, description="Also write a .dlc container, which the vendor's own tools (SNPE, QAIRT) read."
    )
    max_opset: int | None = Field(default=None, ge=1, description="Newest ONNX opset that the tool reads.")


class TvmDelegate(Facts):
    """Compiled by Apache TVM for a processor."""

    road: Literal["tvm"]
    triple: str = Field(description="LLVM target triple.")
    cpu: str = Field(description="LLVM processor name.")
    features: tuple[str, ...] = Field(default=(), description="LLVM processor features, such as +avx2.")
    cross_compiler: str | None = Field(
        default=None, description="Linker command; the system's own compiler when absent."
    )
    max_opset: int | None = Field(default=None, ge=1, description="Newest ONNX opset that the tool reads.")


class IreeDelegate(Facts):
    """Compiled by IREE for a processor."""

    road: Literal["iree"]
    triple: str = Field(description="LLVM target triple.")
    cpu: str = Field(description="LLVM processor name.")
    features: tuple[str, ...] = Field(default=(), description="LLVM processor features, such as +avx2.")
    max_opset: int | None = Field(default=None, ge=1, description="Newest ONNX opset that the tool reads.")


class OpenVinoDelegate(Facts):
    """Converted by OpenVINO, and compiled by its NPU plug-in where the vendor's NPU compiler is at hand."""

    road: Literal["openvino"]
    platform: str = Field(pattern=r"^[0-9]{4}$", description="The NPU platform's number, such as 4000.")
    max_opset: int | None = Field(default=None, ge=1, description="Newest ONNX opset that the tool reads.")


class OrtDelegate(Facts):
    """Runs in ONNX Runtime on the CPU: for hosts, and for chips whose compiler has no road yet."""

    road: Literal["ort"]
    max_opset: int | None = Field(None, ge=1, description="Newest ONNX opset that the tool reads.")


class LiteRtDelegate(Facts):
    """Written as a TFLite model, which LiteRT's interpreter runs."""

    road: Literal["litert"]
    kernels: Literal["reference", "builtin", "xnnpack"] = Field(
        "xnnpack", description="What computes: plain loops, optimized kernels, or XNNPACK and the optimized ones."
    )
    max_opset: int | None = Field(None, ge=1, description="Newest ONNX opset that the tool reads.")


class LiteRtAotDelegate(Facts):
    """Compiled by LiteRT's ahead-of-time tool, with the vendor's plug-in and SDK."""

    road: Literal["litert-aot"]
    vendor: str = Field(
        pattern=r"^[a-z]+(_[a-z]+)*$", description="LiteRT's folder of the plug-in, and ending of the SDK's package."
    )
    manufacturer: str = Field(pattern=r"^\w+$", description="The plug-in's name of the vendor.")
    soc_model: str = Field(pattern=r"^\w+$", description="The plug-in's name of the chip.")
    library: str = Field(pattern=r"^lib[\w.+-]+\.so$", description="Library of the SDK by which the SDK is known.")
    sdk_folder: str = Field(
        default="", pattern=r"^[\w*/-]*$", description="Where libraries lie in the SDK, * for any name."
    )
    options: tuple[str, ...] = Field(default=(), description="More options of the tool, as --name=value.")
    kernels: Literal["reference", "builtin", "xnnpack"] = Field(
        "builtin", description="What computes the numbers, before the vendor's compiler."
    )
    max_opset: int | None = Field(default=None, ge=1, description="Newest ONNX opset that the tool reads.")


class EdgeTpuDelegate(Facts):
    """Compiled by Google's edgetpu_compiler."""

    road: Literal["edgetpu"]
    kernels: Literal["reference", "builtin", "xnnpack"] = Field(
        "builtin", description="What computes the numbers, before the vendor's compiler."
    )
    max_opset: int | None = Field(default=None, ge=1, description="Newest ONNX opset that the tool reads.")


class TosaDelegate(Facts):
    """Written as a TOSA flatbuffer, which Arm's reference model computes."""

    road: Literal["tosa"]
    specification: str = Field(pattern=r"^\d+\.\d+$", description="Version of the specification.")
    profiles: tuple[str, ...] = Field(description="What the flatbuffer must conform to, as tosa-opt names it.")
    extensions: tuple[str, ...] = Field(default=(), description="Extensions that it may use, as tosa-opt names them.")
    level: Literal["none", "8k"] = Field(default="8k", description="Bounds of ranks and sizes.")
    max_opset: int | None = Field(default=None, ge=1, description="Newest ONNX opset that the tool reads.")


class EthosUDelegate(Facts):
    """Compiled by Arm Vela, from a TFLite model."""

    road: Literal["ethosu"]
    accelerator: str = Field(
        pattern=r"^ethos-u\d+-\d+$", description="Vela's name of the accelerator and its MACs per cycle."
    )
    system_config: str = Field(pattern=r"^\w+$", description="Vela's name of clock and memories around it.")
    memory_mode: str = Field(pattern=r"^\w+$", description="Vela's name of what lies in which memory.")
    max_opset: int | None = Field(default=None, ge=1, description="Newest ONNX opset that the tool reads.")


class NnapiDelegate(Facts):
    """Written as the ONNX model that ONNX Runtime's NNAPI provider reads on Android."""

    road: Literal["nnapi"]
    max_opset: int | None = Field(default=None, ge=1, description="Newest ONNX opset that the tool reads.")


class VitisAiDelegate(Facts):
    """Written as the ONNX model that AMD's Vitis AI provider compiles on its first session."""

    road: Literal["vitisai"]
    backend: Literal["X1", "X2"] = Field(description="The provider's compiler for integers (its option `target`).")
    xclbin: str | None = Field(
        default=None, description="The NPU binary that older chips are configured with, as the provider's option."
    )
    max_opset: int | None = Field(default=None, ge=1, description="Newest ONNX opset that the tool reads.")


class CoreMlDelegate(Facts):
    """Translated to a Core ML package."""

    road: Literal["coreml"]
    deployment: Literal["iOS17", "iOS18"] = Field(description="Oldest system that the package is for.")
    palette_bits: Literal[2, 4, 6, 8] | None = Field(
        default=None, description="Hold float weights as indices of so many bits into a table of values."
    )
    max_opset: int | None = Field(default=None, ge=1, description="Newest ONNX opset that the tool reads.")


class RknnDelegate(Facts):
    """Built by Rockchip's RKNN-Toolkit2."""

    road: Literal["rknn"]
    platform: str = Field(pattern=r"^r[kv]\d\w+$", description="The toolkit's name of the chip.")
    max_opset: int | None = Field(default=None, ge=1, description="Newest ONNX opset that the tool reads.")


class Imx500Delegate(Facts):
    """Packed by Sony's converter for the IMX500."""

    road: Literal["imx500"]
    max_opset: int | None = Field(default=None, ge=1, description="Newest ONNX opset that the tool reads.")


class EspressifDelegate(Facts):
    """Quantized and packed for ESP-DL by Espressif's esp-ppq."""

    road: Literal["espressif"]
    chip: str = Field(pattern=r"^esp32\w+$", description="The tool's name of the chip.")
    bits: Literal[8, 16] = Field(default=8, description="Bits of activations and weights that the tool quantizes to.")
    max_opset: int | None = Field(default=None, ge=1, description="Newest ONNX opset that the tool reads.")


class KendryteDelegate(Facts):
    """Quantized and compiled by Kendryte's nncase."""

    road: Literal["kendryte"]
    chip: Literal["k230"] = Field(description="The compiler's name of the chip.")
    activation: Literal["uint8", "int8", "int16"] = Field(
        default="uint8", description="What the compiler quantizes activations to."
    )
    weight: Literal["uint8", "int8", "int16"] = Field(
        default="uint8", description="What the compiler quantizes weights to."
    )
    max_opset: int | None = Field(default=None, ge=1, description="Newest ONNX opset that the tool reads.")


Delegate: TypeAlias = Annotated[
    QnnDelegate
    | TvmDelegate
    | IreeDelegate
    | OrtDelegate
    | LiteRtDelegate
    | LiteRtAotDelegate
    | EdgeTpuDelegate
    | OpenVinoDelegate
    | EthosUDelegate
    | TosaDelegate
    | NnapiDelegate
    | VitisAiDelegate
    | CoreMlDelegate
    | RknnDelegate
    | Imx500Delegate
    | EspressifDelegate
    | KendryteDelegate,
    Field(discriminator="road"),
]
