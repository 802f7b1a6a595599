"""Drop-in networks for other runtimes: their base class, and ONNX Runtime."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import onnx
import onnxruntime
import torch
from torch import Tensor, nn


def import_runtime(package: str, remedy: str) -> ModuleType:
    """Import an optional dependency.

    Raises:
        ValueError: it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ValueError(f"{package} is not installed here: {remedy}") from error


class RuntimeNetwork(nn.Module):
    """A graph in another runtime, images (B, 3, H, W) -> logits (B, K, h, w); subclasses add `run`.

    Args:
        runtime: name of the library, such as "ONNX Runtime" or "OpenVINO float32".
        device: of the images and logits in `forward`.
        num_classes: K.
        takes_bytes: whether the graph takes uint8 RGB images and includes preprocessing.
    """

    def __init__(
        self, runtime: str, device: torch.device, num_classes: int, takes_bytes: bool
    ) -> None:
        super().__init__()
        self.runtime = runtime
        self.device = device
        self.num_classes = num_classes
        self.takes_bytes = takes_bytes

    def run(self, images: Tensor) -> Sequence[Tensor]:
        """Return all outputs: logits, then labels if the graph has them."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits; floats in 0..255 are cast if the graph takes uint8."""
        if self.takes_bytes:
            images = images.round().to(torch.uint8)
        return self.run(images.contiguous())[0][:, : self.num_classes]

    def keep_classes(self, count: int) -> None:
        """Drop the outputs from `count` on, like `Segmenter.keep_classes`."""
        self.num_classes = count


class OnnxNetwork(RuntimeNetwork):
    """A graph in ONNX Runtime on the CPU, with as many threads as PyTorch has.

    Args:
        graph: from `eval.deployment.deploy.to_onnx`, or the file.
    """

    def __init__(self, graph: onnx.ModelProto | Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Idle threads spin by default, and would occupy cores that other runtimes need.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.log_severity_level = 3  # errors only: warnings are about graph optimisation
        source = str(graph) if isinstance(graph, Path) else graph.SerializeToString()
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(source, options, providers=providers)
        image, logits = session.get_inputs()[0], session.get_outputs()[0]
        takes_bytes = image.type == "tensor(uint8)"
        super().__init__("ONNX Runtime", torch.device("cpu"), logits.shape[1], takes_bytes)
        self.session = session

    def run(self, images: Tensor) -> list[Tensor]:
        """Return all outputs."""
        found = self.session.run(None, {"image": images.numpy()})
        return [torch.from_numpy(array) for array in found]
