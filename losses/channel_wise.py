"""Channel-wise distillation (`cwd`) and its variants.

Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction", ICCV 2021
(arXiv 2011.13256), equations 2 to 4. The variants are those of TransKD's CWLoss option.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from losses.declaration import DIVERGENCES, NORM_TYPES


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
