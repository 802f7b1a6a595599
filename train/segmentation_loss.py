"""Cross-entropy at label resolution, without several full-size copies of the logits."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from conventions.labels import VOID

MAX_VALUES = 2**24  # upsampled logits at a time: 64 MB of float32


class SegmentationLoss(nn.Module):
    """Cross-entropy at label resolution, ignoring void pixels.

    The mean is weighted as in `torch.nn.CrossEntropyLoss`, but is 0 instead of NaN if a batch has
    no labelled pixel, as can happen with crops of sparsely labelled images.
    """

    class_weights: Tensor | None

    def __init__(self, class_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        weights = None if class_weights is None else torch.tensor(class_weights).float()
        self.register_buffer("class_weights", weights, persistent=False)

    @torch.compiler.disable  # computes the gradient in the forward pass
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compare logits (B, K, h, w) with labels (B, H, W), upsampling bilinearly to H x W."""
        total = _SummedCrossEntropy.apply(logits, labels, self.class_weights)
        weight = self._weight_of(labels)
        return total / weight.where(weight > 0, 1)  # a tiny divisor would overflow in the gradient

    def _weight_of(self, labels: Tensor) -> Tensor:
        if self.class_weights is None:
            return (labels != VOID).sum().float()
        counts = torch.stack([(labels == k).sum() for k in range(len(self.class_weights))])
        return (counts * self.class_weights).sum()


class _SummedCrossEntropy(torch.autograd.Function):
    """Sum over all pixels, in at least float32, of logits (B, K, h, w) upsampled to (B, H, W).

    The gradient is computed together with the value, a few images at a time, so that each of the
    three full-size maps it needs (upsampled logits, log-softmax, gradient) holds at most
    `MAX_VALUES` values, or one image if that is larger.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        images = max(1, MAX_VALUES // (logits.shape[1] * labels[0].numel()))
        sums, gradients = [], []
        for part, target in zip(logits.split(images), labels.split(images), strict=True):
            part = part.to(torch.promote_types(part.dtype, torch.float32), copy=True)
            with torch.set_grad_enabled(ctx.needs_input_grad[0]):
                part.requires_grad_(ctx.needs_input_grad[0])
                value = F.cross_entropy(
                    _upsampled(part, target.shape[-2:]),
                    target,
                    weights if weights is None else weights.to(part.dtype),
                    ignore_index=VOID,
                    reduction="sum",
                )
            if ctx.needs_input_grad[0]:
                gradients += torch.autograd.grad(value, part)
            sums.append(value.detach())
        ctx.dtype = logits.dtype
        ctx.save_for_backward(*gradients)
        return torch.stack(sums).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return torch.cat(ctx.saved_tensors).mul_(gradient).to(ctx.dtype), None, None


def _upsampled(logits: Tensor, size: torch.Size) -> Tensor:
    if logits.shape[-2:] == size:
        return logits
    return F.interpolate(logits, size, mode="bilinear", align_corners=False)
