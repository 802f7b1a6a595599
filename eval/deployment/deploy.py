"""Conversion of a network for other runtimes: TorchScript and ONNX, for any size and batch."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from command_line.outputs import replacing
from conventions.preprocessing import Preprocessing

OPSET = 17  # the first with LayerNormalization; supported by runtimes from 2023 on
TRACED = (2, 3, 96, 128)
AXES = {
    "image": {0: "batch", 2: "height", 3: "width"},
    "logits": {0: "batch", 2: "quarter_height", 3: "quarter_width"},
    "labels": {0: "batch", 1: "height", 2: "width"},
}


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings about checks that a trace cannot record, and about deprecated tracing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Deployed(nn.Module):
    """A network with optional preprocessing before it and optional argmax after it.

    Args:
        model: float (B, 3, H, W) -> logits (B, K, ceil(H/4), ceil(W/4)).
        preprocessing: of the checkpoint; only mean and standard deviation are used.
        with_preprocessing: take uint8 RGB images instead of normalised floats.
        with_argmax: also return class ids, at the image's size.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocessing: Preprocessing,
        with_preprocessing: bool = False,
        with_argmax: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.with_preprocessing = with_preprocessing
        self.with_argmax = with_argmax
        channels = (preprocessing.mean, preprocessing.std)
        mean, std = (torch.tensor(values)[:, None, None] for values in channels)
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", -mean / std)
        self.eval()  # the exporter restores the mode that it finds here

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs of `forward`."""
        return ["logits", "labels"] if self.with_argmax else ["logits"]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return logits (B, K, ceil(H/4), ceil(W/4)) and, if wanted, uint8 labels (B, H, W)."""
        size = images.shape[-2:]
        if self.with_preprocessing:
            images = images.float() * self.scale + self.shift
        logits = self.model(images)
        if not self.with_argmax:
            return (logits,)
        upsampled = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        return logits, upsampled.argmax(1).to(torch.uint8)

    def example(self, shape: tuple[int, ...], seed: int = 0) -> Tensor:
        """Draw a random input (B, 3, H, W) of the dtype that `forward` takes."""
        generator = torch.Generator().manual_seed(seed)
        if self.with_preprocessing:
            return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        return torch.randn(shape, generator=generator)


def trace(deployed: Deployed) -> torch.jit.ScriptModule:
    """Trace to TorchScript with dynamic height, width and batch, on the network's device."""
    image = deployed.example(TRACED).to(deployed.scale.device)
    with quiet():
        return torch.jit.trace(deployed, image, check_trace=False)


def to_onnx(deployed: Deployed) -> onnx.ModelProto:
    """Export to an ONNX graph of opset `OPSET` with dynamic height, width and batch.

    The input is `image` (batch, 3, height, width), the outputs `logits` and, if wanted,
    `labels`.
    """
    buffer = io.BytesIO()
    with quiet():
        # The exporter based on torch.export gives the same numbers, but takes minutes for symbolic
        # shapes; the one based on tracing takes seconds.
        torch.onnx.export(
            deployed,
            (deployed.example(TRACED),),
            buffer,  # type: ignore[arg-type]  # streams are taken, too, as documented
            dynamo=False,
            opset_version=OPSET,
            input_names=["image"],
            output_names=deployed.outputs,
            dynamic_axes={name: AXES[name] for name in ("image", *deployed.outputs)},
        )
    graph = onnx.load_from_string(buffer.getvalue())
    onnx.checker.check_model(graph)
    return graph


def signature(graph: onnx.ModelProto) -> str:
    """Format the graph's inputs and outputs with their types and sizes."""

    def show(value: onnx.ValueInfoProto) -> str:
        kind = value.type.tensor_type
        sizes = [d.dim_param or str(d.dim_value) for d in kind.shape.dim]
        name = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
        return f"{value.name} {name} ({', '.join(sizes)})"

    ends = (graph.graph.input, graph.graph.output)
    return " -> ".join(", ".join(map(show, values)) for values in ends)


def save_graph(graph: onnx.ModelProto, facts: dict[str, str], target: Path) -> None:
    """Write the graph with its metadata, atomically."""
    onnx.helper.set_model_props(graph, facts)
    with replacing(target) as temporary:
        temporary.write_bytes(graph.SerializeToString())
