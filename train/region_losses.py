"""Losses on labels besides cross-entropy (`--loss`): region overlap and hard pixels."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from conventions.labels import VOID

SMOOTH = 1.0  # pixels; a class that occurs nowhere gets a loss of 0 instead of 0/0


class SummedLoss(nn.Module):
    """The sum of losses on the same logits and labels."""

    def __init__(self, *losses: nn.Module) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compare logits (B, K, h, w) with labels (B, H, W); returns a scalar."""
        return torch.stack([loss(logits, labels) for loss in self.losses]).sum()


class JaccardLoss(nn.Module):
    """Soft Jaccard loss: mean over classes in the batch of 1 - (tp + 1) / (tp + fp + fn + 1).

    Probabilities replace counts (Rahman and Wang, ISVC 2016), over all labelled pixels of the
    batch: tp = sum of p_k y_k and tp + fp + fn = sum of p_k + y_k - p_k y_k.

    Args:
        ignored: id of void pixels, which may be one of the K outputs.
    """

    def __init__(self, ignored: int = VOID) -> None:
        super().__init__()
        self.ignored = ignored

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compare logits (B, K, h, w), upsampled, with labels (B, H, W); a scalar in [0, 1]."""
        probabilities, truth = labelled_pixels(logits, labels, self.ignored)
        both = (probabilities * truth).sum(0)
        union = probabilities.sum(0) + truth.sum(0) - both
        return mean_of_held(1 - (both + SMOOTH) / (union + SMOOTH), truth)


class LovaszLoss(nn.Module):
    """Lovász-Softmax: the tight convex extension of the Jaccard index (Berman et al., CVPR 2018).

    For each class present in the batch, the errors |y_k - p_k| of all labelled pixels are sorted in
    descending order and weighted by the increase of the Jaccard loss along that order (equation 9
    of arXiv 1705.08790), then averaged over those classes.

    Args:
        ignored: id of void pixels, which may be one of the K outputs.
    """

    def __init__(self, ignored: int = VOID) -> None:
        super().__init__()
        self.ignored = ignored

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compare logits (B, K, h, w), upsampled, with labels (B, H, W); a scalar in [0, 1]."""
        probabilities, truth = labelled_pixels(logits, labels, self.ignored)
        if not len(truth):
            return logits.sum() * 0
        errors, order = (truth - probabilities).abs().sort(dim=0, descending=True)
        hits = truth.gather(0, order)
        total = hits.sum(0)
        common = total - hits.cumsum(0)
        union = total + (1 - hits).cumsum(0)
        jaccard = 1 - common / union.clamp_min(1)
        growth = torch.cat((jaccard[:1], jaccard.diff(dim=0)))
        return mean_of_held((errors * growth).sum(0), truth)


class HardPixelLoss(nn.Module):
    """Cross-entropy of hard pixels only: online hard example mining (OHEM).

    A pixel is hard if its true class has a probability below `threshold`; at least the hardest
    sixteenth of the labelled pixels is kept (Yu et al., BiSeNet, ECCV 2018, section 3.3; the
    fraction is that of the authors' code). Class weights, if any, apply to the kept pixels.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        class_weights: list[float] | None = None,
        threshold: float = 0.7,
        least: float = 1 / 16,
    ) -> None:
        super().__init__()
        self.least = least
        self.limit = -torch.tensor(threshold).log().item()
        weights = None if class_weights is None else torch.tensor(class_weights).float()
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compare logits (B, K, h, w), upsampled, with labels (B, H, W); returns a scalar."""
        logits = upsampled(logits, labels)
        losses = F.cross_entropy(logits, labels.long(), ignore_index=VOID, reduction="none")
        known = labels != VOID
        losses, ids = losses[known], labels[known].long()
        if not len(losses):
            return logits.sum() * 0
        kept = losses.detach() > self.limit
        least = max(1, int(self.least * len(losses)))
        if kept.sum() < least:
            kept = torch.zeros_like(kept).index_fill_(0, losses.detach().topk(least).indices, True)
        if self.class_weights is None:
            return losses[kept].mean()
        weights = self.class_weights[ids[kept]]
        total = weights.sum()
        return (losses[kept] * weights).sum() / total.where(total > 0, 1)


def upsampled(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits (B, K, h, w) in float32, upsampled to the size of labels (B, H, W)."""
    size = labels.shape[-2:]
    return F.interpolate(logits.float(), size, mode="bilinear", align_corners=False)


def labelled_pixels(logits: Tensor, labels: Tensor, ignored: int) -> tuple[Tensor, Tensor]:
    """Probabilities and one-hot ground truth (N, K) of the N pixels that are not `ignored`."""
    probabilities = upsampled(logits, labels).softmax(1).movedim(1, -1)
    known = labels != ignored
    truth = F.one_hot(labels[known].long(), logits.shape[1]).float()
    return probabilities[known], truth


def mean_of_held(losses: Tensor, truth: Tensor) -> Tensor:
    """Mean of losses (K,) over the classes present in the one-hot ground truth (N, K)."""
    held = truth.any(0).float()
    return (losses * held).sum() / held.sum().clamp_min(1)
