"""Distillation of logits: `kd`, `cwd` and `dist`.

kd: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015 (arXiv 1503.02531), applied
to each pixel as a separate classification.
cwd: Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction", ICCV 2021
(arXiv 2011.13256), equations 2 to 4; its variants are those of TransKD's CWLoss option.
dist: Huang et al., "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022
(arXiv 2205.10536), equations 6 to 10.
standardisation: Sun et al., "Logit Standardization in Knowledge Distillation", CVPR 2024
(arXiv 2403.01427), equation 10.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from losses.declaration import DIVERGENCES, NORM_TYPES, summed
from losses.void import LEFT_OUT, labelled, masked_mean, mean_over_images


class Standardized(nn.Module):
    """A loss on logits that are standardised to mean 0 and standard deviation 1 per pixel.

    Args:
        loss: compares lists of logits (B, K, h, w).
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(
        self, student_maps: list[Tensor], teacher_maps: list[Tensor], labels: Tensor | None = None
    ) -> Tensor:
        """Compare logits (B, K, h, w); returns a scalar >= 0."""
        student_maps, teacher_maps = (
            [standardize(maps) for maps in side] for side in (student_maps, teacher_maps)
        )
        return self.loss(student_maps, teacher_maps, labels)


def standardize(logits: Tensor) -> Tensor:
    """Z-scores over the classes of each pixel, (B, K, h, w), in float32."""
    logits = logits.float()
    deviation = logits - logits.mean(dim=1, keepdim=True)
    return deviation / (deviation.square().mean(dim=1, keepdim=True) + 1e-7).sqrt()


class PixelKLLoss(nn.Module):
    """tau^2 KL(softmax(z_t / tau) || softmax(z_s / tau)) over classes, mean over pixels.

    The factor tau^2 keeps the gradient magnitude when tau changes (section 2 of the paper).
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(
        self, student_maps: list[Tensor], teacher_maps: list[Tensor], labels: Tensor | None = None
    ) -> Tensor:
        """Compare logits (B, K, h, w); returns a scalar >= 0, summed over the lists."""
        terms = []
        for student, teacher in zip(student_maps, teacher_maps, strict=True):
            divergence = pixel_divergence(student, teacher, self.temperature)
            terms.append(masked_mean(divergence, labelled(labels, student.shape[-2:])))
        return summed(terms)


def pixel_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """tau^2 KL between the class distributions of each pixel: (B, K, h, w) -> (B, 1, h, w)."""
    student = F.log_softmax(student.float() / temperature, dim=1)
    teacher = F.log_softmax(teacher.float() / temperature, dim=1)
    divergence = F.kl_div(student, teacher, reduction="none", log_target=True)
    return temperature**2 * divergence.sum(dim=1, keepdim=True)


class ChannelWiseLoss(nn.Module):
    """Divergence between softmax-normalised maps, averaged over the distributions.

    Args:
        temperature: softens both sides of the KL divergence, which is scaled by its square.
            The MSE ignores it.
        norm_type: what is turned into a distribution. "channel": the pixels of each channel (the
            paper); "spatial": the channels of each pixel, with "kl" the same as `PixelKLLoss`;
            "channel_mean": the spatial means of the channels, per image.
        divergence: "kl" or "mse". The squared differences are summed within a distribution and
            averaged over distributions, like the KL divergence. "mse" compares channel means
            without a softmax: the mean of (mean_s - mean_t)^2 over channels.

    Raises:
        ValueError: for an unknown `norm_type` or `divergence`.
    """

    def __init__(
        self, temperature: float = 4.0, norm_type: str = "channel", divergence: str = "kl"
    ) -> None:
        super().__init__()
        if norm_type not in NORM_TYPES:
            raise ValueError(f"norm_type {norm_type!r} is unknown: use {', '.join(NORM_TYPES)}")
        if divergence not in DIVERGENCES:
            raise ValueError(f"divergence {divergence!r} is unknown: use {', '.join(DIVERGENCES)}")
        self.temperature = temperature
        self.norm_type = norm_type
        self.divergence = divergence

    def forward(
        self, student_maps: list[Tensor], teacher_maps: list[Tensor], labels: Tensor | None = None
    ) -> Tensor:
        """Compare maps (B, C, h, w); returns a scalar >= 0, summed over the lists."""
        compare = self._kl if self.divergence == "kl" else self._mse
        terms = []
        for student, teacher in zip(student_maps, teacher_maps, strict=True):
            mask = labelled(labels, student.shape[-2:])
            rows_s, rows_t = (self._rows(maps, mask) for maps in (student, teacher))
            terms.append(self._averaged(compare(rows_s, rows_t), mask))
        return summed(terms)

    def _rows(self, maps: Tensor, mask: Tensor | None) -> Tensor:
        """Arrange maps (B, C, h, w) so that the last axis is the one to be normalised."""
        maps = maps.float()
        if self.norm_type == "channel":  # a distribution over labelled pixels: (B, C, h * w)
            return (maps if mask is None else maps.masked_fill(mask == 0, LEFT_OUT)).flatten(2)
        if self.norm_type == "spatial":  # one over channels per pixel: (B, h * w, C)
            return maps.flatten(2).transpose(1, 2)
        if mask is None:  # one over channels per image: (B, 1, C)
            return maps.flatten(2).mean(dim=2).unsqueeze(1)
        means = (maps * mask).sum((2, 3)) / mask.sum((2, 3)).clamp_min(1)
        return means.unsqueeze(1)

    def _averaged(self, divergences: Tensor, mask: Tensor | None) -> Tensor:
        """Mean over distributions (B, N) of labelled pixels, or of images that have any."""
        if self.norm_type != "spatial":
            return mean_over_images(divergences, mask)
        pixels = None if mask is None else mask.flatten(2).unsqueeze(3)
        return masked_mean(divergences[:, None, :, None], pixels)

    def _kl(self, student: Tensor, teacher: Tensor) -> Tensor:
        student = F.log_softmax(student / self.temperature, dim=-1)
        teacher = F.log_softmax(teacher / self.temperature, dim=-1)
        divergence = F.kl_div(student, teacher, reduction="none", log_target=True)
        return self.temperature**2 * divergence.sum(dim=-1)

    def _mse(self, student: Tensor, teacher: Tensor) -> Tensor:
        if self.norm_type == "channel_mean":
            return (student - teacher).square().mean(dim=-1)
        return (student.softmax(dim=-1) - teacher.softmax(dim=-1)).square().sum(dim=-1)


class RelationMatchingLoss(nn.Module):
    """(1 - inter-class correlation) + (1 - intra-class correlation) of class probabilities.

    Inter-class: over the classes of a pixel, averaged over pixels. Intra-class: over all pixels of
    the batch for a class, averaged over classes. Both are scaled by tau^2 as in the published code.
    With two classes the inter-class correlation is 1 or -1 and passes no gradient.

    Args:
        temperature: tau of the softmax.
        inter_weight, intra_weight: beta and gamma of equation 10.
    """

    def __init__(
        self, temperature: float = 1.0, inter_weight: float = 1.0, intra_weight: float = 1.0
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.inter_weight = inter_weight
        self.intra_weight = intra_weight

    def _probabilities(self, logits: Tensor) -> Tensor:
        """(B, K, h, w) -> (K, B * h * w)."""
        probabilities = (logits.float() / self.temperature).softmax(dim=1)
        return probabilities.transpose(0, 1).flatten(1)

    def forward(
        self, student_maps: list[Tensor], teacher_maps: list[Tensor], labels: Tensor | None = None
    ) -> Tensor:
        """Compare logits (B, K, h, w); returns a scalar in [0, 2 tau^2 (beta + gamma)]."""
        terms = []
        for student, teacher in zip(student_maps, teacher_maps, strict=True):
            mask = labelled(labels, student.shape[-2:])
            pixels = None if mask is None else mask.flatten()
            student, teacher = self._probabilities(student), self._probabilities(teacher)
            inter = _weighted_mean(1 - pearson(student.T, teacher.T), pixels)
            intra = (1 - pearson(student, teacher, pixels)).mean()
            if pixels is not None:  # all void: pearson is 0, but the loss must be 0 too
                intra = intra * pixels.any()
            terms += [self.inter_weight * inter, self.intra_weight * intra]
        return self.temperature**2 * summed(terms)


def pearson(a: Tensor, b: Tensor, weights: Tensor | None = None) -> Tensor:
    """Pearson's correlation over the last axis, 0 where either side is constant.

    Args:
        a: (..., N).
        b: (..., N).
        weights: (N,) of 0 and 1: which entries count; None for all.
    """
    a, b = (x - _weighted_mean(x, weights, keepdim=True) for x in (a, b))
    if weights is not None:
        a, b = a * weights, b * weights
    return F.cosine_similarity(a, b, dim=-1)


def _weighted_mean(x: Tensor, weights: Tensor | None, keepdim: bool = False) -> Tensor:
    if weights is None:
        return x.mean(dim=-1, keepdim=keepdim)
    return (x * weights).sum(dim=-1, keepdim=keepdim) / weights.sum().clamp_min(1)
