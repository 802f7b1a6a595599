"""What makes training fast changes no number: one step against the plain formulation.

Plain is: the head as published, the texture term with unfolded patches, attention with its matrix,
cross-entropy of upsampled logits, and AdamW parameter by parameter.
"""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import unfolded_texture
from conventions.preprocessing import Preprocessing
from losses import build_method
from losses.void import labelled
from models.mit import EfficientAttention
from train.optimizer import build_optimizer
from train.segmentation_loss import SegmentationLoss
from train.tasks import DistillationTask
from train.teacher import FrozenTeacher

PREPROCESSING = Preprocessing((0.5,) * 3, (0.2,) * 3)


class PlainTexture(nn.Module):
    def forward(self, student_maps, teacher_maps, labels=None):
        masks = [labelled(labels, maps.shape[-2:]) for maps in student_maps]
        losses = [
            unfolded_texture.texture([torch.where(mask > 0, s, t)], [t]) / mask.mean()
            for mask, s, t in zip(masks, student_maps, teacher_maps, strict=True)
        ]
        return sum(losses) / len(losses)


def plain_attention(self, x):
    reduced = (
        self.norm(self.sr(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)) if self.sr_ratio > 1 else x
    )
    query = self._split_heads(self.q(x))
    key, value = (self._split_heads(half) for half in self.kv(reduced).chunk(2, dim=-1))
    weights = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)
    return self.proj((weights @ value).transpose(1, 2).reshape(x.shape))


def plain_loss(logits, labels):
    logits = F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=False)
    return F.cross_entropy(logits, labels, ignore_index=255)


@pytest.fixture
def task(build_tiny):
    student, teacher = build_tiny(), build_tiny(embed_dims=(16, 24, 32, 40), seed=1)
    distiller = build_method("sekd-ct", student, teacher)
    frozen = FrozenTeacher(teacher, PREPROCESSING)
    return DistillationTask(student, SegmentationLoss(), PREPROCESSING, distiller, frozen)


def make_plain(task, monkeypatch):
    for network in (task.student, task.teacher.network):
        network.head.fuse = network.head.fuse_plain
    monkeypatch.setattr(EfficientAttention, "forward", plain_attention)
    task.distiller.losses["texture"] = PlainTexture()
    task.criterion.forward = plain_loss


def learn(task, optimizer):
    """One step; the loss, the gradients and what became of the parameters."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, 72, 104), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 3, (2, 72, 104), generator=generator)
    labels[:, :9] = 255
    torch.manual_seed(1)  # stochastic depth and dropout
    terms = task.train()(images, labels)
    terms["loss"].backward()
    gradients = [p.grad.clone() for p in task.parameters() if p.requires_grad]
    optimizer.step()
    return terms, gradients, [p.detach().clone() for p in task.parameters()]


def test_a_whole_step_equals_the_plain_formulation(task, monkeypatch):
    plain = copy.deepcopy(task)
    # AdamW's first step is close to the sign of a gradient, which rounding decides where it is
    # almost 0: a larger epsilon makes the step a smooth function of it.
    optimizer = build_optimizer(task, lr=1e-3, weight_decay=0.01)
    for group in optimizer.param_groups:
        group["eps"] = 1e-2
    quick = learn(task, optimizer)
    make_plain(plain, monkeypatch)
    groups = build_optimizer(plain, lr=1e-3, weight_decay=0.01).param_groups
    groups = [{**group, "eps": 1e-2, "fused": False, "foreach": False} for group in groups]
    slow = learn(plain, torch.optim.AdamW(groups))
    for found, expected in zip(quick, slow, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
