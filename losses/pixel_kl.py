"""Pixel-wise logit distillation (`kd`).

Hinton et al., "Distilling the Knowledge in a Neural Network", 2015 (arXiv 1503.02531), applied to
every pixel as a classification of its own.
"""

from torch import Tensor, nn
from torch.nn import functional as F


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
