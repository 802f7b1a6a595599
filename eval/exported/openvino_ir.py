"""OpenVINO: IR files (.xml with a .bin beside it), and a network that runs them on the CPU."""

import os
import tempfile
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
import torch
from torch import Tensor

from eval.exported.network import RuntimeNetwork, import_runtime

SECTION = "sekd"  # section of the file's rt_info with the metadata of `eval.exported.description`
NAMES = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}  # -> OpenVINO's names
COMPILED = 4  # image shapes whose compiled network is cached; each has its own copy of the weights


def import_openvino() -> ModuleType:
    """Import OpenVINO; the error says how to install it."""
    return import_runtime("openvino", "pip install -r requirements-openvino.txt")


def to_openvino(graph: onnx.ModelProto) -> Any:
    """Convert an ONNX graph to an OpenVINO model; sizes stay dynamic, weights float32 (or int8)."""
    return import_openvino().Core().read_model(graph.SerializeToString())


def save_openvino(model: Any, facts: dict[str, str], target: Path) -> None:
    """Write `target` (.xml) with its metadata, and the weights beside it (.bin).

    Both files are complete before either is renamed to its final name.
    """
    for key, value in facts.items():
        model.set_rt_info(value, [SECTION, key])
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".openvino-") as folder:
        written = Path(folder, target.name)
        import_openvino().save_model(model, written, compress_to_fp16=False)
        # The graph last: its weights are looked up under its own name.
        os.replace(written.with_suffix(".bin"), target.with_suffix(".bin"))
        os.replace(written, target)


def read_facts(model: Any) -> dict[str, str]:
    """Return the metadata of a file; empty if export.py did not write it."""
    if not model.has_rt_info(SECTION):
        return {}
    return {key: str(entry) for key, entry in model.get_rt_info(SECTION).value.items()}


class OpenVinoNetwork(RuntimeNetwork):
    """A model in OpenVINO on the CPU, with as many threads as PyTorch has.

    It is compiled for each image shape on first use, which takes about a second: a model compiled
    for dynamic shapes is slower and, in bfloat16, less accurate.

    Args:
        model: from `to_openvino`, or the .xml file.
        precision: `float32` or `bfloat16`; None leaves it to OpenVINO, which uses bfloat16 if
            the processor supports it (AMX, AVX512_BF16), otherwise float32.

    Raises:
        ValueError: OpenVINO is not installed, or the processor lacks the precision.
    """

    def __init__(self, model: Any, precision: str | None = None) -> None:
        core = import_openvino().Core()
        if isinstance(model, Path):
            model = core.read_model(model)
        hint = core.get_property("CPU", "INFERENCE_PRECISION_HINT").to_string()
        chosen = {short: name for name, short in NAMES.items()}.get(hint, hint)
        has_bfloat16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bfloat16" and not has_bfloat16:
            raise ValueError(f"--precision {precision}: OpenVINO computes in {chosen} here")
        chosen = precision or chosen
        image, logits = model.inputs[0], model.outputs[0]
        super().__init__(
            f"OpenVINO {chosen}",
            torch.device("cpu"),
            logits.partial_shape[1].get_length(),
            image.element_type.to_string() == "u8",
        )
        config = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": NAMES.get(chosen, hint),
        }

        @lru_cache(maxsize=COMPILED)
        def compile_for(shape: torch.Size) -> Any:
            fixed = model.clone()
            fixed.reshape(list(shape))
            return core.compile_model(fixed, "CPU", config)

        self.compile_for = compile_for

    def run(self, images: Tensor) -> list[Tensor]:
        """Return all outputs."""
        compiled = self.compile_for(images.shape)
        found = compiled([images.numpy()])
        return [torch.from_numpy(found[output]) for output in compiled.outputs]
