"""AdamW and its learning rate schedule."""

from typing import cast

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from train.tasks import Task

MAX_WARMUP, WARMUP_SHARE = 1500, 0.05


def build_optimizer(
    task: nn.Module,
    lr: float,
    weight_decay: float,
    head_lr: float = 1.0,
    layer_decay: float = 1.0,
) -> torch.optim.AdamW:
    """AdamW without weight decay on vectors, such as norms and biases.

    Args:
        task: must have `.student` with `.head` and `.encoder` if a factor is not 1.
        lr: learning rate before the factors below.
        weight_decay: of matrices and kernels.
        head_lr: factor on `lr` for the head.
        layer_decay: factor on `lr` from each encoder block to the one before it.
    """
    factors: dict[nn.Parameter, float] = {}
    if head_lr != 1:
        factors |= dict.fromkeys(cast(Task, task).student.head.parameters(), head_lr)
    if layer_decay != 1:
        blocks = cast(Task, task).student.encoder.blocks()
        for depth, block in enumerate(reversed(blocks)):
            factors |= dict.fromkeys(block, layer_decay**depth)
    rates: dict[float, list[nn.Parameter]] = {1.0: []}  # first, because its rate is logged
    for parameter in task.parameters():
        if parameter.requires_grad:
            rates.setdefault(factors.get(parameter, 1.0), []).append(parameter)
    groups = []
    for factor, members in rates.items():
        rate = lr * factor
        groups += [
            {
                "params": [p for p in members if p.ndim > 1],
                "lr": rate,
                "weight_decay": weight_decay,
            },
            {"params": [p for p in members if p.ndim <= 1], "lr": rate, "weight_decay": 0.0},
        ]
    # Fused: one pass over all parameters instead of about ten small operations per parameter.
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=lr,
        betas=(0.9, 0.999),
        weight_decay=weight_decay,
        fused=True,
    )


def build_scheduler(
    optimizer: torch.optim.Optimizer, total: int, warmup: int | None, power: float
) -> LambdaLR:
    """Linear warm-up, then polynomial decay that reaches 0 after the last step.

    The factor depends on the step only, so a resumed run continues the schedule, and a run that is
    extended follows the longer schedule from there on.

    Raises:
        ValueError: the warm-up is at least as long as the run.
    """
    if warmup is None:
        warmup = min(MAX_WARMUP, round(WARMUP_SHARE * total))
    if warmup >= total:
        raise ValueError(f"--warmup-steps {warmup} leaves nothing of a run of {total} steps")

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return max(0.0, 1 - (step - warmup) / (total - warmup)) ** power

    return LambdaLR(optimizer, factor)
