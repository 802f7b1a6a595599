"""Options of optimisation: length, learning rates, loss on labels, device and precision."""

from dataclasses import dataclass, replace

from command_line.arguments import (
    decay,
    factor,
    non_negative_integer,
    non_negative_number,
    positive_integer,
    positive_number,
)
from train.options.flag import flag, published_switch, two_way

LABEL_LOSSES = ("ce", "ce+jaccard", "ce+lovasz", "ohem")
PRECISIONS = ("auto", "none", "bf16", "fp16")


@dataclass(frozen=True)
class OptimisationOptions:
    """Training length, learning rates, loss on labels, device and precision."""

    num_epochs: int = flag("passes over the training split", default=500, type=positive_integer)
    max_steps: int | None = flag("end after N optimizer steps instead", type=positive_integer)
    batch_size: int = flag("images per step and process", default=4, type=positive_integer)
    accumulate: int = flag("batches per optimizer step", default=1, type=positive_integer)
    lr: float = flag("peak learning rate of AdamW", default=6e-5, type=positive_number)
    head_lr: float = flag(
        "factor on --lr for the decode head; SegFormer's own training takes 10",
        default=1.0,
        type=positive_number,
    )
    layer_decay: float = flag(
        "factor on the learning rate from each block of the encoder to the one before, for "
        "pretrained encoders; 0.75 to 0.95 are common",
        default=1.0,
        type=factor,
    )
    loss: str = flag(
        "loss on labels: cross-entropy; with soft Jaccard or Lovász added; or cross-entropy "
        "of the hard pixels (ohem)",
        default="ce",
        choices=LABEL_LOSSES,
    )
    ema: float | None = flag(
        "decay of a moving average of the weights, such as 0.999, which is then what is "
        "validated, saved as the network and deployed; it warms up in the first steps",
        type=decay,
    )
    weight_decay: float = flag("of matrices, not of norms", default=0.01, type=non_negative_number)
    warmup_steps: int | None = flag(
        "steps of linear warm-up (default: 5 %% of the run, at most 1500)",
        type=non_negative_integer,
    )
    power: float = flag("of the polynomial decay to 0", default=1.0, type=positive_number)
    clip_grad: float | None = flag("largest norm of the gradient", type=positive_number)
    class_weights: str = flag(
        "cross-entropy weights: auto (from class frequencies), none, numbers a,b,c or a file",
        default="none",
        may_be_file=True,
    )
    device: str | None = flag("cpu, cuda, cuda:1, mps (default: cuda where there is one)")
    cuda: bool = published_switch("the same as --device cuda", saved=False)
    amp: str = flag(
        "mixed precision; auto is bf16 on a GPU that has it, else none",
        default="auto",
        choices=PRECISIONS,
    )
    compile: bool = two_way("compile networks and losses with torch.compile", default=False)
    sync_bn: bool = two_way("BatchNorm over the images of all processes; needs GPUs", default=False)
    deterministic: bool = two_way(
        "on a GPU, take PyTorch's deterministic algorithms, and warn of operations that have none; "
        "a CPU is deterministic without",
        default=False,
    )
    detect_anomaly: bool = flag(
        "stop at the first operation whose gradient is not a number, and show its call; slow",
        default=False,
        saved=False,
        action="store_true",
    )
    tf32: bool = two_way("let a GPU round float32 matrix products to TF32", default=False)

    def settled(self) -> "OptimisationOptions":
        """Return a copy with `--cuda` resolved into `device`.

        Raises:
            ValueError: `--cuda` with `--device cpu`.
        """
        if self.cuda and self.device == "cpu":
            raise ValueError("--cuda and --device cpu contradict each other: leave one of them out")
        if self.cuda and self.device is None:
            return replace(self, device="cuda")
        return self
