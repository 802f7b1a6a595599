"""Cost of a network: parameters, multiply-adds, and the two counts that the papers print.

Everything is counted on fake tensors: only shapes are propagated, so that a B5 at full resolution
takes a second, and the network itself is never run or changed.
"""

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from models import Segmenter

M = TypeVar("M", bound=nn.Module)


def count_parameters(module: nn.Module) -> int:
    """Return the number of parameters, trainable or not, without buffers."""
    return sum(parameter.numel() for parameter in module.parameters())


def multiply_adds(
    model: Segmenter,
    height: int,
    width: int,
    adapters: Iterable[nn.Module] = (),
    plain: bool = False,
) -> int:
    """Return the actual multiply-adds per image.

    Matrix products, including attention, and convolutions are counted, and 3 per output value of
    bilinear interpolation (two blends along rows, one across); norms and activations, a few
    percent, are not.

    Args:
        model: network with `forward_intermediates`; a copy in `eval()` is counted.
        height: of the image, in pixels.
        width: of the image, in pixels.
        adapters: modules that take the network's intermediates during distillation; pass them to
            count a distilled student's cost in training, without the teacher and the losses.
        plain: count the head's published formulation instead of the one that runs.
    """
    custom = {torch.ops.aten.upsample_bilinear2d: _interpolation}
    counter = FlopCounterMode(display=False, custom_mapping=custom)
    fake = FakeTensorMode()
    model, adapters = _copy_to(fake, model), [_copy_to(fake, adapter) for adapter in adapters]
    if plain:  # in a copy that is only counted
        model.head.fuse = model.head.fuse_plain  # type: ignore[method-assign]
    # The math kernel decomposes attention into products that every torch release can count.
    with torch.no_grad(), fake, counter, sdpa_kernel(SDPBackend.MATH):
        outputs = model.forward_intermediates(torch.empty(1, 3, height, width))
        for adapter in adapters:
            adapter(outputs)
    return counter.get_total_flops() // 2


def training_cost(
    model: Segmenter, adapters: Iterable[nn.Module], height: int, width: int
) -> dict[str, int]:
    """Return a student's cost including its adapters, to be recorded in the checkpoint.

    Args:
        model: the student.
        adapters: of the distillation method.
        height: of one training image, in pixels.
        width: of one training image, in pixels.

    Returns:
        `params`, `flops` (multiply-adds per image, forward pass), `height` and `width`.
    """
    adapters = list(adapters)
    params = count_parameters(model) + sum(map(count_parameters, adapters))
    flops = multiply_adds(model, height, width, adapters)
    return {"params": params, "flops": flops, "height": height, "width": width}


def _interpolation(read: tuple[int, ...], *args: Any, out_shape: tuple[int, ...], **_: Any) -> int:
    """Count floating-point operations, the counter's unit: 3 multiply-adds of 2 each per value."""
    return 0 if tuple(read) == tuple(out_shape) else 6 * math.prod(out_shape)


class Layer(NamedTuple):
    """One call of a layer, with what the counting rules need.

    Attributes:
        kind: "conv", "linear", "norm", "relu" or "pool".
        read: number of input elements.
        written: number of output elements.
        products: multiply-adds per output element.
        bias: whether a bias is added.
    """

    kind: str
    read: int
    written: int
    products: int = 0
    bias: bool = False


class Cost(NamedTuple):
    """Parameters and layer calls of a part of a network; `join` combines parts."""

    parameters: int = 0
    layers: tuple[Layer, ...] = ()


def join(parts: Iterable[Cost]) -> Cost:
    """Return the total cost of several parts."""
    parts = list(parts)
    layers = tuple(layer for part in parts for layer in part.layers)
    return Cost(sum(part.parameters for part in parts), layers)


def thop_rule(layer: Layer) -> int:
    """Count like the package thop, which was used for SEKD's table.

    Convolutions and linear layers are counted without bias, norms with 4 per element (2, doubled
    if affine), and global pooling; attention products and interpolation are not.
    """
    if layer.kind == "norm":
        return 4 * layer.read
    if layer.kind == "pool":
        return layer.read + layer.written
    return layer.written * layer.products


def transkd_rule(layer: Layer) -> int:
    """Count like TransKD's table: convolution bias, and norms, ReLU and pooling per element."""
    if layer.kind == "conv":
        return layer.written * (layer.products + layer.bias)
    per_element = {"linear": 0, "norm": 2, "relu": 1, "pool": 1}[layer.kind]
    return layer.written * layer.products + layer.read * per_element


RULES: dict[str, Callable[[Layer], int]] = {"thop": thop_rule, "transkd": transkd_rule}


def paper_params_flops(
    model: Segmenter, adapters: Cost, height: int, width: int, rule: str
) -> tuple[int, int]:
    """Return parameters and FLOPs as counted in a paper, on the published formulation.

    Args:
        model: network whose head has `fuse_plain`.
        adapters: trained with it, at this image size; `Cost()` for a plain network.
        height: of one image, in pixels; two of 512 x 512 cost as much as one of 512 x 1024.
        width: of one image, in pixels.
        rule: a key of `RULES`.
    """
    layers = (*plain_layers(model, height, width), *adapters.layers)
    return count_parameters(model) + adapters.parameters, sum(map(RULES[rule], layers))


def plain_layers(model: Segmenter, height: int, width: int) -> list[Layer]:
    """List the layers of the published formulation in call order."""
    fake, recorder = FakeTensorMode(), _Recorder()
    model = _copy_to(fake, model)
    with torch.no_grad(), fake, recorder:
        images = torch.empty(1, 3, height, width)
        features = model.encoder.forward_intermediates(images).features
        model.head.classify(model.head.fuse_plain(features))
    return recorder.layers


class _Recorder(TorchFunctionMode):
    """Records the layers called within its context."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: list[Layer] = []

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if (kind := KINDS.get(function)) is not None:
            self.layers.append(_describe(kind, result, *args, **kwargs))
        return result


KINDS: dict[Callable, str] = {
    torch.conv1d: "conv",
    torch.conv2d: "conv",
    nn.functional.linear: "linear",
    nn.functional.batch_norm: "norm",
    nn.functional.layer_norm: "norm",
    nn.functional.relu: "relu",
    nn.functional.adaptive_avg_pool2d: "pool",
}


def _describe(kind: str, result: Tensor, read: Tensor, *args: Any, **kwargs: Any) -> Layer:
    if kind not in ("conv", "linear"):
        return Layer(kind, read.numel(), result.numel())
    weight = args[0]
    bias = kwargs.get("bias", args[1] if len(args) > 1 else None)
    # (C_out, C_in / groups, k, k): all but C_out are summed per output
    products = math.prod(weight.shape[1:])
    return Layer(kind, read.numel(), result.numel(), products, bias is not None)


def _copy_to(fake: FakeTensorMode, module: M) -> M:
    """Return a copy in eval mode on fake tensors, whatever the module's device."""
    tensors = (*module.parameters(), *module.buffers())
    with fake:
        shapes = {id(tensor): torch.empty(tensor.shape, dtype=tensor.dtype) for tensor in tensors}
    return copy.deepcopy(module, shapes).eval()
