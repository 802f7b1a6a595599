"""Distillation of logits: `kd`, `cwd` and `dist`.

kd: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015 (arXiv 1503.02531), applied
to every pixel as a classification of its own.
cwd: Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction", ICCV 2021
(arXiv 2011.13256), equations 2 to 4; its variants are those of TransKD's CWLoss option.
dist: Huang et al., "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022
(arXiv 2205.10536), equations 6 to 10.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from losses.declaration import DIVERGENCES, NORM_TYPES


def _pixel_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    student = F.log_softmax(student.float() / temperature, dim=1)
    teacher = F.log_softmax(teacher.float() / temperature, dim=1)
    divergence = F.kl_div(student, teacher, reduction="sum", log_target=True)
    pixels = student.shape[0] * student.shape[-2] * student.shape[-1]
    return temperature**2 * divergence / pixels


class PixelKLLoss(nn.Module):
    """tau^2 KL(softmax(z_t / tau) || softmax(z_s / tau)) over classes, mean over pixels.

    The factor tau^2 keeps the gradient's size when tau changes (section 2 of the paper).
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, student_maps: list[Tensor], teacher_maps: list[Tensor]) -> Tensor:
        """Compare logits (B, K, h, w); returns a scalar >= 0, summed over the lists' entries."""
        pairs = zip(student_maps, teacher_maps, strict=True)
        return sum(_pixel_kl(student, teacher, self.temperature) for student, teacher in pairs)


def _rows(maps: Tensor, norm_type: str) -> Tensor:
    """Arrange maps (B, C, h, w) so that the last axis is the one to be normalised."""
    maps = maps.float().flatten(2)
    if norm_type == "channel":
        return maps  # one distribution over pixels per channel: (B, C, h * w)
    if norm_type == "spatial":
        return maps.transpose(1, 2)  # one over channels per pixel: (B, h * w, C)
    return maps.mean(dim=2).unsqueeze(1)  # one over channels per image: (B, 1, C)


class ChannelWiseLoss(nn.Module):
    """Divergence between softmax-normalised maps, averaged over the distributions.

    Args:
        temperature: softens both sides of the KL divergence, which is scaled by its square.
            The MSE knows no temperature.
        norm_type: what is turned into a distribution. "channel": the pixels of each channel (the
            paper); "spatial": the channels of each pixel, with "kl" the same as `PixelKLLoss`;
            "channel_mean": the spatial means of an image's channels.
        divergence: "kl" or "mse". The squared differences are summed within a distribution and
            averaged over distributions, as the KL divergence is. Channel means are compared as
            they are by "mse": the mean of (mean_s - mean_t)^2 over channels.

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

    def _kl(self, student: Tensor, teacher: Tensor) -> Tensor:
        student = F.log_softmax(student / self.temperature, dim=-1)
        teacher = F.log_softmax(teacher / self.temperature, dim=-1)
        divergence = F.kl_div(student, teacher, reduction="sum", log_target=True)
        return self.temperature**2 * divergence / student[..., 0].numel()

    def _mse(self, student: Tensor, teacher: Tensor) -> Tensor:
        if self.norm_type == "channel_mean":
            return F.mse_loss(student, teacher)
        difference = student.softmax(dim=-1) - teacher.softmax(dim=-1)
        return difference.square().sum(dim=-1).mean()

    def forward(self, student_maps: list[Tensor], teacher_maps: list[Tensor]) -> Tensor:
        """Compare maps (B, C, h, w); returns a scalar >= 0, summed over the lists' entries."""
        compare = self._kl if self.divergence == "kl" else self._mse
        pairs = zip(student_maps, teacher_maps, strict=True)
        return sum(compare(_rows(s, self.norm_type), _rows(t, self.norm_type)) for s, t in pairs)


def pearson(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation over the last axis, 0 where either side is constant."""
    a = a - a.mean(dim=-1, keepdim=True)
    b = b - b.mean(dim=-1, keepdim=True)
    return F.cosine_similarity(a, b, dim=-1)


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

    def forward(self, student_maps: list[Tensor], teacher_maps: list[Tensor]) -> Tensor:
        """Compare logits (B, K, h, w); returns a scalar in [0, 2 tau^2 (beta + gamma)]."""
        total = 0.0
        for student, teacher in zip(student_maps, teacher_maps, strict=True):
            student, teacher = self._probabilities(student), self._probabilities(teacher)
            inter = 1 - pearson(student.T, teacher.T).mean()
            intra = 1 - pearson(student, teacher).mean()
            total = total + self.inter_weight * inter + self.intra_weight * intra
        return self.temperature**2 * total
