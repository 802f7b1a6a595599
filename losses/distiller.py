"""Build a trainable module from a method's declaration."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from losses.declaration import Adapter, Method, MethodOptions, Term, WatchedOptions, maps_of
from losses.methods import find_method


class Distiller(nn.Module):
    """The adapters and the losses of a method.

    `distiller(student_out, teacher_out, labels)` returns {term: weighted scalar}. The outputs
    have those of `.images` and `INTERMEDIATES` that the method needs. With labels (B, H, W) of
    class ids, void pixels (255) are left out of every term. Pixels without a class (254) are in all
    terms, compared with the teacher alone.

    Attributes:
        adapters: trainable adapters by name; they hold all parameters of the distiller.
        reads: which of the teacher's `INTERMEDIATES` the terms need.
        ignored: flags that were set but that this method does not read.
    """

    def __init__(self, method: Method, student: Any, teacher: Any, options: MethodOptions) -> None:
        super().__init__()
        watched = WatchedOptions(options)
        targets = {term.reads: _target(method, term) for term in method.terms}
        self.stages = {name: _stages(target, watched) for name, target in targets.items()}
        self.targets = {name: target.target for name, target in targets.items()}
        self.pools = {name: target.pool for name, target in targets.items()}
        terms = [term for term in method.terms if self.stages[term.reads]]
        used = {term.reads for term in terms}
        self.adapters = nn.ModuleDict(
            {
                name: adapter.build(student, teacher, watched)
                for name, adapter in method.adapters.items()
                if name in used
            }
        )
        self.losses = nn.ModuleDict(
            {term.name: term.build(student, teacher, watched) for term in terms}
        )
        self.weights = {term.name: watched.weight * _weight(term, watched) for term in terms}
        self.sources = {term.name: term.reads for term in terms}
        self.reads = frozenset(method.compared(watched))
        self.ignored = watched.ignored()

    def forward(
        self, student_out: Any, teacher_out: Any, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The weighted value of every term, in order of declaration."""
        known = () if labels is None else (labels,)
        pairs = {
            name: self._pair(name, student_out, teacher_out)
            for name in dict.fromkeys(self.sources.values())
        }
        return {
            name: self.weights[name] * loss(*pairs[self.sources[name]], *known)
            for name, loss in self.losses.items()
        }

    def _pair(
        self, name: str, student_out: Any, teacher_out: Any
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The student's and the teacher's maps that terms reading `name` compare."""
        stages, target = self.stages[name], self.targets[name]
        teacher_maps = [maps_of(teacher_out, target)[stage].detach() for stage in stages]
        pool = self.pools[name]
        if pool is not None:
            teacher_maps = [pool(maps) for maps in teacher_maps]
        if name in self.adapters:
            student_maps = self.adapters[name](student_out)
        else:
            student_maps = [maps_of(student_out, target)[stage] for stage in stages]
        pairs = zip(student_maps, teacher_maps, strict=True)
        return [_resize_like(student, teacher) for student, teacher in pairs], teacher_maps


def build_method(name: str, student: Any, teacher: Any, **options: Any) -> Distiller:
    """Build the distiller of the method `name`, or of several joined as in `sekd-ct+kd`.

    Args:
        name: a key of `losses.methods.METHODS`, in any case.
        student: a network with `.widths`, `.fused_width` and `.num_classes`.
        teacher: likewise.
        options: fields of `MethodOptions`.

    Raises:
        ValueError: an unknown name or a bad value, a method that `--embed 0` leaves empty, or a
            logit-based method whose teacher has a different number of classes.
        TypeError: an unknown option.
    """
    distiller = Distiller(find_method(name), student, teacher, MethodOptions(**options))
    if not distiller.losses:
        raise ValueError(f"--method {name} compares embeddings only: --embed 0 leaves nothing")
    if "logits" in distiller.reads and student.num_classes != teacher.num_classes:
        raise ValueError(
            f"--method {name} compares logits: the teacher has {teacher.num_classes} classes, "
            f"the student {student.num_classes}"
        )
    return distiller


def _target(method: Method, term: Term) -> Adapter:
    """The adapter that the term reads; a dummy one if it reads intermediates directly."""
    return method.adapters.get(term.reads) or Adapter(nn.Identity, target=term.reads)


def _stages(adapter: Adapter, options: WatchedOptions) -> tuple[int, ...]:
    taking_part = options.stages(adapter.target)
    if adapter.stages is None:
        return taking_part
    return tuple(stage for stage in adapter.stages if stage in taking_part)


def _weight(term: Term, options: WatchedOptions) -> float:
    return term.weight(options) if callable(term.weight) else term.weight


def _resize_like(student: Tensor, teacher: Tensor) -> Tensor:
    """Resize the student's map to the teacher's size, for networks of different output strides."""
    if student.shape[-2:] == teacher.shape[-2:]:
        return student
    return F.interpolate(student, teacher.shape[-2:], mode="bilinear", align_corners=False)
