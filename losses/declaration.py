"""Declarative building blocks of a distillation method: adapters and weighted terms."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

INTERMEDIATES = ("features", "before_norm", "embeddings", "fused", "logits")
SINGLE = ("fused", "logits")  # one map, not one per stage
NORM_TYPES = ("channel", "spatial", "channel_mean")
DIVERGENCES = ("kl", "mse")
# Options whose flag has another name.
RENAMED = {"weight": "kd_weight", "hcl_weight": "review_kd_loss_weight"}


@dataclass(frozen=True)
class MethodOptions:
    """User-settable options of a method, each with a flag of the same meaning.

    Attributes:
        weight: factor on every term of the method, relative to the cross-entropy (`--kd-weight`).
        temperature: softmax temperature (`--kd-tau`, `--temperature`); None keeps each term's own.
        norm_type: what CWD normalises over, one of `NORM_TYPES`.
        divergence: the divergence that CWD uses, one of `DIVERGENCES`.
        hcl_weight: weight of the hierarchical context loss (`--review-kd-loss-weight`).
        lambda_cwd: weight of channel-wise distillation of logits. 0.3 is what CIRKD's authors use
            for SegFormer; 3 is the CWD paper's, for convolutional networks.
        lambda_cwd_features: likewise, of the fused map.
        review_width: channels in which ReviewKD fuses stages. TransKD uses 64, ReviewKD's authors
            256 to 512.
        embed_weights: TransKD's weight of each of the four embedding stages.
        standardize_logits: whether logit-based methods compare z-scores over classes.
        embed: which embedding stages are used: 0 none, 1 to 4 only that stage, 5 all.
        gl_residual: whether the GL-Mixer adds its input to its output.

    Raises:
        ValueError: a value is out of range; the message names the flag.
    """

    weight: float = 1.0
    temperature: float | None = None
    norm_type: str = "channel"
    divergence: str = "kl"
    hcl_weight: float = 1.0
    lambda_cwd: float = 0.3
    lambda_cwd_features: float = 5.0
    review_width: int = 64
    embed_weights: tuple[float, ...] = (0.1, 0.1, 0.5, 1.0)
    standardize_logits: bool = False
    embed: int = 5
    gl_residual: bool = True

    def __post_init__(self) -> None:
        for flag, value in (
            ("--kd-weight", self.weight),
            ("--review-kd-loss-weight", self.hcl_weight),
            ("--lambda-cwd", self.lambda_cwd),
            ("--lambda-cwd-features", self.lambda_cwd_features),
            *(("--embed-weights", weight) for weight in self.embed_weights),
        ):
            if not value >= 0:
                raise ValueError(f"{flag} {value}: a weight is not negative")
        if self.temperature is not None and not self.temperature > 0:
            raise ValueError(f"--temperature {self.temperature}: must be greater than 0")
        if len(self.embed_weights) != 4:
            raise ValueError(f"--embed-weights: give four numbers, not {len(self.embed_weights)}")
        if self.review_width < 1:
            raise ValueError(f"--review-width {self.review_width}: must be at least 1")
        if self.norm_type not in NORM_TYPES:
            raise ValueError(f"--norm-type {self.norm_type}: choose from {', '.join(NORM_TYPES)}")
        if self.divergence not in DIVERGENCES:
            known = ", ".join(DIVERGENCES)
            raise ValueError(f"--divergence {self.divergence}: choose from {known}")
        if self.embed not in range(6):
            raise ValueError(
                f"--embed {self.embed}: 0 uses no embedding stage, 1 to 4 that stage alone, 5 all"
            )

    def stages(self, target: str) -> tuple[int, ...]:
        """Stages (from 0) of the intermediates `target` that are used; a single map is stage 0."""
        if target in SINGLE:
            return (0,)
        if target == "embeddings" and self.embed != 5:
            return (self.embed - 1,) if self.embed else ()
        return (0, 1, 2, 3)


def flag_of(option: str) -> str:
    """The flag that sets a field of `MethodOptions`."""
    return f"--{RENAMED.get(option, option).replace('_', '-')}"


class WatchedOptions:
    """`MethodOptions` that record which fields a method has read."""

    def __init__(self, options: MethodOptions) -> None:
        self.options = options
        self.read: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.read.add(name)
        return getattr(self.options, name)

    def stages(self, target: str) -> tuple[int, ...]:
        """Like `MethodOptions.stages`; records the fields that this reads."""
        if target == "embeddings":
            self.read.add("embed")
        return self.options.stages(target)

    def ignored(self) -> list[str]:
        """Flags that were set to a non-default value but never read."""
        given = [f.name for f in fields(self.options) if getattr(self.options, f.name) != f.default]
        return [flag_of(name) for name in given if name not in self.read]


@dataclass(frozen=True)
class Adapter:
    """A trainable module that maps the student's intermediates into the teacher's space.

    Attributes:
        build: `build(student, teacher, options)` returns the module; the module takes all of the
            student's intermediates and returns one map (B, C_teacher, h, w) per stage.
        target: the teacher's intermediates that the maps are compared with.
        stages: the stages (from 0) that the maps belong to; None for `options.stages(target)`.
        pool: applied to the teacher's maps if the adapter pools the student's.
    """

    build: Callable[..., nn.Module]
    target: str
    stages: tuple[int, ...] | None = None
    pool: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Term:
    """One weighted loss.

    Attributes:
        name: name under which the value is logged.
        build: `build(student, teacher, options)` returns the loss, a module that is called with
            the student's and teacher's maps and, in training, labels (B, H, W), 255 for void.
        weight: factor on the loss, or a function of the options that returns it.
        reads: an adapter of the method, or one of `INTERMEDIATES` to read it without an adapter.
    """

    name: str
    build: Callable[..., nn.Module]
    weight: float | Callable[..., float]
    reads: str


@dataclass(frozen=True)
class Method:
    """A distillation method: terms, and the adapters that they read by name."""

    terms: tuple[Term, ...]
    adapters: dict[str, Adapter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, adapter in self.adapters.items():
            assert name not in INTERMEDIATES, f"adapter {name} hides the intermediates"
            assert adapter.target in INTERMEDIATES, f"adapter {name}: {adapter.target}"
        for term in self.terms:
            assert term.reads in (*INTERMEDIATES, *self.adapters), f"{term.name}: {term.reads}"

    def compared(self, options: MethodOptions | WatchedOptions) -> set[str]:
        """The teacher's `INTERMEDIATES` that the terms in use compare with."""
        targets = (
            self.adapters[term.reads].target if term.reads in self.adapters else term.reads
            for term in self.terms
        )
        return {target for target in targets if options.stages(target)}


def maps_of(out: Any, kind: str) -> list[Tensor]:
    """The intermediates `kind` of a network, as a list."""
    maps = getattr(out, kind)
    return [maps] if kind in SINGLE else maps


def summed(terms: Iterable[Tensor]) -> Tensor:
    """Sum one or more scalars, in order."""
    return reduce(torch.add, terms)


def merge(methods: Sequence[Method]) -> Method:
    """Merge methods into one; adapters and terms that they share are kept once."""
    adapters: dict[str, Adapter] = {}
    terms: dict[str, Term] = {}
    for method in methods:
        for name, adapter in method.adapters.items():
            assert adapters.setdefault(name, adapter) == adapter, f"two adapters named {name}"
        for term in method.terms:
            assert terms.setdefault(term.name, term) == term, f"two terms named {term.name}"
    return Method(tuple(terms.values()), adapters)
