"""Cross-image relational distillation (`cirkd`), used together with the pixel KL.

Yang et al., "Cross-Image Relational Knowledge Distillation for Semantic Segmentation", CVPR 2022
(arXiv 2204.06986): relations within the mini-batch (section 3.3), to a memory of pixels and to a
memory of regions (section 3.4). All read the decode head's fused map, as the authors' SegFormer
runs do.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from losses.adapters import ChannelLinear, StagewiseAdapter
from losses.declaration import MethodOptions, summed
from losses.void import LEFT_OUT, labelled, labels_at, masked_mean

POOL = 4  # largest pooling window, in cells per side: that of the published code
POOLED_SIDE = 16  # pooling leaves at least this many cells on the shorter side


def pool_map(maps: Tensor) -> Tensor:
    """Average a map (B, C, h, w) over windows of up to 4 x 4 cells; maps below 32 cells stay.

    The published code pools the 128 cells of a 512 px crop by 4. Crops of 256 px and more are
    pooled likewise; smaller ones less, but not left whole: the cost of comparing all pixels with
    each other grows with the fourth power of the side.
    """
    height, width = maps.shape[-2:]
    window = max(1, min(POOL, min(height, width) // POOLED_SIDE))
    return F.adaptive_avg_pool2d(maps, (height // window, width // window))


class CrossImageLoss(nn.Module):
    """KL between teacher and student similarities of the pixels of each pair of images.

    For images i and j of the batch, S_ij = F_i F_j^T / tau over L2-normalised pixel embeddings;
    each row of S_ij is a distribution over the pixels of image j. The divergence is averaged over
    the rows and over all ordered pairs of images with labelled pixels, i = j included. A batch of
    one image therefore compares the relations within that image. Only similarities are compared, so
    widths may differ.

    Args:
        temperature: tau.
        max_size: maps are pooled to at most this height and width. Memory is (B * max_size^2)^2.
    """

    def __init__(self, temperature: float = 0.1, max_size: int = 32) -> None:
        super().__init__()
        self.temperature = temperature
        self.max_size = max_size

    def forward(
        self, student_maps: list[Tensor], teacher_maps: list[Tensor], labels: Tensor | None = None
    ) -> Tensor:
        """Compare maps (B, C_s, h, w) with (B, C_t, h, w); returns a scalar >= 0."""
        terms = []
        # In half precision, division by tau would leave at most two digits.
        with torch.autocast(student_maps[0].device.type, enabled=False):
            for student, teacher in zip(student_maps, teacher_maps, strict=True):
                height, width = pool_map(student).shape[-2:]
                size = (min(self.max_size, height), min(self.max_size, width))
                mask = labelled(labels, size)
                pixels = None if mask is None else mask.flatten(1)
                student = self._log_similarities(student, size, pixels)
                teacher = self._log_similarities(teacher, size, pixels)
                divergence = F.kl_div(student, teacher, reduction="none", log_target=True)
                rows = divergence.sum(dim=-1)  # (B, N, B)
                # Labelled pixels of i count, to each image j that has any.
                counted = None if pixels is None else (pixels[:, :, None] * pixels.amax(1))[:, None]
                terms.append(masked_mean(rows[:, None], counted))
        return summed(terms)

    def _log_similarities(
        self, maps: Tensor, size: tuple[int, int], pixels: Tensor | None
    ) -> Tensor:
        """(B, C, h, w) -> (B, N, B, N), a log-distribution over the last axis."""
        embeddings = F.adaptive_avg_pool2d(maps.float(), size).flatten(2)
        embeddings = F.normalize(embeddings, dim=1)
        similarities = torch.einsum("icn,jcm->injm", embeddings, embeddings) / self.temperature
        if pixels is not None:
            similarities = similarities.masked_fill(pixels[None, None] == 0, LEFT_OUT)
        return F.log_softmax(similarities, dim=-1)


class MemoryRelationLoss(nn.Module):
    """KL between teacher and student similarities to embeddings in a memory bank.

    The memory holds L2-normalised embeddings of the teacher, in one ring buffer per class. A step
    adds embeddings of its own images, then samples all classes equally and compares the softmax
    over similarities / `temperature` per pixel. Without labels, all pixels belong to one class.

    The memory is a registered buffer: it is saved with a run, and in distributed training each
    process adds the embeddings of all processes, so that their memories are identical.

    Args:
        width: channels C_t of the teacher's map, and of the student's projected one.
        num_classes: K.
        regions: store the mean embedding per class and image, instead of single pixels.
        slots: embeddings stored per class.
        drawn: embeddings sampled per step, over all classes.
        new_pixels: pixels added per image and class.
        temperature: divides the similarities.
    """

    memory: Tensor
    stored: Tensor

    def __init__(
        self,
        width: int,
        num_classes: int,
        regions: bool,
        slots: int,
        drawn: int,
        new_pixels: int = 16,
        temperature: float = 0.1,
    ) -> None:
        super().__init__()
        self.regions = regions
        self.drawn = drawn
        self.new_pixels = new_pixels
        self.temperature = temperature
        self.register_buffer("memory", torch.zeros(num_classes, slots, width))
        self.register_buffer("stored", torch.zeros(num_classes, dtype=torch.long))

    def forward(
        self, student_maps: list[Tensor], teacher_maps: list[Tensor], labels: Tensor | None = None
    ) -> Tensor:
        """Compare one pair of maps (B, C_t, h, w); returns a scalar >= 0."""
        (student,), (teacher,) = student_maps, teacher_maps
        with torch.autocast(student.device.type, enabled=False):
            student, teacher = (F.normalize(maps.float(), dim=1) for maps in (student, teacher))
            size = teacher.shape[-2:]
            shape = (len(teacher), *size)
            ids = teacher.new_zeros(shape).long() if labels is None else labels_at(labels, size)
            if self.training:
                self._remember(teacher, ids)
            if not self.stored.any():
                return (student * 0).sum()
            memory = self._draw()
            student, teacher = (
                F.log_softmax(torch.einsum("bchw,nc->bnhw", maps, memory) / self.temperature, 1)
                for maps in (student, teacher)
            )
            divergence = F.kl_div(student, teacher, reduction="none", log_target=True)
            return masked_mean(divergence.sum(1, keepdim=True), labelled(labels, size))

    @torch.no_grad()
    def _remember(self, teacher: Tensor, ids: Tensor) -> None:
        for class_id in range(len(self.memory)):
            found = (self._mean if self.regions else self._pick)(teacher, ids == class_id)
            ring, count = self.memory[class_id], int(self.stored[class_id])
            kept = _gather(found)[-len(ring) :]
            ring[(count + torch.arange(len(kept), device=ring.device)) % len(ring)] = kept
            self.stored[class_id] += len(kept)

    def _mean(self, teacher: Tensor, inside: Tensor) -> Tensor:
        """Mean direction of a class per image that contains it, (n, C)."""
        sums = (teacher * inside[:, None]).sum((2, 3))
        return F.normalize(sums[inside.flatten(1).any(1)], dim=1)

    def _pick(self, teacher: Tensor, inside: Tensor) -> Tensor:
        """Random pixels of a class per image, (n, C)."""
        picked = []
        for maps, where in zip(teacher, inside, strict=True):
            pixels = maps[:, where].T
            order = torch.randperm(len(pixels), device=pixels.device)
            picked.append(pixels[order[: self.new_pixels]])
        return torch.cat(picked)

    def _draw(self) -> Tensor:
        """Sample embeddings about equally from all non-empty classes, (n, C)."""
        filled = [min(int(count), self.memory.shape[1]) for count in self.stored]
        share = -(-self.drawn // sum(count > 0 for count in filled))
        drawn = []
        for ring, count in zip(self.memory, filled, strict=True):
            order = torch.randperm(count, device=ring.device)
            drawn.append(ring[order[:share]])
        return torch.cat(drawn)


def _gather(found: Tensor) -> Tensor:
    """Concatenate the embeddings of all processes in rank order: (n, C) -> (m, C)."""
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return found
    processes = torch.distributed.get_world_size()
    counts = [torch.zeros(1, dtype=torch.long, device=found.device) for _ in range(processes)]
    torch.distributed.all_gather(counts, torch.tensor([len(found)], device=found.device))
    most = max(int(count) for count in counts)
    padded = F.pad(found, (0, 0, 0, most - len(found)))
    parts = [torch.empty_like(padded) for _ in range(processes)]
    torch.distributed.all_gather(parts, padded.contiguous())
    return torch.cat([part[: int(n)] for part, n in zip(parts, counts, strict=True)])


def build_projected_map(student: Any, teacher: Any, options: MethodOptions) -> StagewiseAdapter:
    """The pooled fused map, projected to the teacher's width by two linear layers.

    The published projection has a BatchNorm between them, which this one omits.
    """
    project = nn.Sequential(
        ChannelLinear(student.fused_width, teacher.fused_width),
        nn.ReLU(),
        ChannelLinear(teacher.fused_width, teacher.fused_width),
    )
    return StagewiseAdapter("fused", {0: project}, pool_map)
