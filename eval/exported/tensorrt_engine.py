"""TensorRT: engines (.engine with a .json beside it), and a network that runs them on a GPU.

Written from the documentation of TensorRT 10; no engine has been measured yet.
"""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from command_line.outputs import write_folder
from eval.exported.network import RuntimeNetwork, import_runtime
from models.encoder import MIN_SIZE

LARGEST_BATCH = 4
SIDE = 512  # px; an engine is tuned for this size if the checkpoint has none


def import_tensorrt() -> ModuleType:
    """Import TensorRT; the error says how to install it."""
    return import_runtime("tensorrt", "pip install tensorrt, on the machine whose GPU will run it")


def build_engine(graph: onnx.ModelProto, size: tuple[int, int]) -> bytes:
    """Build an engine in float32 for the GPU of this machine.

    It takes batches up to `LARGEST_BATCH` and sides from `MIN_SIZE` to twice those of `size`.

    Args:
        graph: from `eval.deployment.deploy.to_onnx`.
        size: (height, width) that the engine is tuned for.

    Raises:
        ValueError: TensorRT is not installed, there is no GPU, or TensorRT rejects the graph.
    """
    trt = import_tensorrt()
    if not torch.cuda.is_available():
        raise ValueError("--format tensorrt: an engine is built on the GPU that it runs on: none")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)  # explicit batch, the only mode since TensorRT 10
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(graph.SerializeToString()):
        raise ValueError(f"TensorRT {trt.__version__} refuses the graph: {parser.get_error(0)}")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # it would keep only 10 bits of mantissa
    profile = builder.create_optimization_profile()
    largest = (LARGEST_BATCH, 3, *(2 * side for side in size))
    profile.set_shape("image", (1, 3, MIN_SIZE, MIN_SIZE), (1, 3, *size), largest)
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise ValueError(f"TensorRT {trt.__version__} could not build an engine; see its log above")
    return bytes(engine)


def save_engine(engine: bytes, facts: dict[str, str], target: Path) -> None:
    """Write the engine, and its metadata to `<target>.json` beside it."""
    text = json.dumps({key: json.loads(value) for key, value in facts.items()}, indent=2) + "\n"
    contents = {f"{target.name}.json": text.encode(), target.name: engine}
    write_folder(target.parent, contents)


def read_facts(target: Path) -> dict[str, str]:
    """Return the metadata that `save_engine` wrote beside an engine.

    Raises:
        OSError, ValueError: the file is missing, or not JSON.
    """
    path = target.with_name(f"{target.name}.json")
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        return {key: json.dumps(value) for key, value in read.items()}
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: is needed beside the engine: copy both") from error
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path}: is damaged: export the network again") from error


class TensorRtNetwork(RuntimeNetwork):
    """An engine on the current GPU.

    Args:
        engine: from `build_engine`.

    Raises:
        ValueError: TensorRT is not installed, or the engine is for another version or GPU.
    """

    def __init__(self, engine: bytes) -> None:
        trt = import_tensorrt()
        runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        loaded = runtime.deserialize_cuda_engine(engine)
        if loaded is None:
            raise ValueError(
                f"TensorRT {trt.__version__} cannot read the engine: it is for another version or "
                "GPU: export it on this machine"
            )
        names = [loaded.get_tensor_name(index) for index in range(loaded.num_io_tensors)]
        types = {name: _torch_type(trt.nptype(loaded.get_tensor_dtype(name))) for name in names}
        super().__init__(
            "TensorRT float32",
            torch.device("cuda", torch.cuda.current_device()),
            loaded.get_tensor_shape("logits")[1],
            types["image"] == torch.uint8,
        )
        self.outputs = [name for name in ("logits", "labels") if name in names]
        self.types = types
        self.engine = loaded  # an execution context does not keep its engine alive
        self.context = loaded.create_execution_context()

    def run(self, images: Tensor) -> list[Tensor]:
        """Return all outputs, on the GPU.

        Raises:
            ValueError: the images or the batch are larger than the engine was built for.
        """
        images = images.to(self.device).contiguous()
        shape = tuple(images.shape)
        if not self.context.set_input_shape("image", shape):
            shown = " x ".join(map(str, shape))
            raise ValueError(
                f"images {shown}: the engine takes smaller ones only: export it with a larger "
                "--image-size, or pass --inference slide"
            )
        found = [
            torch.empty(
                tuple(self.context.get_tensor_shape(name)),
                dtype=self.types[name],
                device=self.device,
            )
            for name in self.outputs
        ]
        tensors: dict[str, Any] = {"image": images, **dict(zip(self.outputs, found, strict=True))}
        for name, tensor in tensors.items():
            self.context.set_tensor_address(name, tensor.data_ptr())
        stream = torch.cuda.current_stream(self.device)
        if not self.context.execute_async_v3(stream.cuda_stream):
            raise ValueError("TensorRT could not run the engine; see its log above")
        return found


def _torch_type(kind: type) -> torch.dtype:
    return torch.from_numpy(np.empty(0, kind)).dtype
