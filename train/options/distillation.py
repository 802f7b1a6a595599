"""Options of distillation: the teacher and the method."""

from dataclasses import dataclass, fields, replace
from typing import Any

from command_line.arguments import (
    image_size,
    non_negative_integer,
    non_negative_number,
    positive_integer,
    positive_number,
    probability,
)
from losses import METHODS
from losses.declaration import DIVERGENCES, NORM_TYPES, RENAMED, MethodOptions
from losses.methods import find_method
from train.options.flag import find_name, flag, published_switch, two_way
from train.options.optimisation import PRECISIONS

DEFAULT_METHOD = "sekd-ct"
UNLABELLED_SHARE = 0.5
REST = "rest"  # the rest of the training split, instead of a folder
PUBLISHED_LOSSES = {
    "MultiScaleContextAlignmentDistillationLoss": "sekd-ct",
    "SelfSupervisedDistillationLoss": "sekd-su",
    "FeatureAlignmentLoss": "sekd-fa",
    "hcl": "transkd-base",
    "CWloss": "transkd-cwd",
    "KL": "kd",
}


@dataclass(frozen=True)
class DistillationOptions:
    """Teacher and method. `settled` resolves the published flags into `method`."""

    teacher: tuple[str, ...] | None = flag(
        "teacher checkpoint: file, folder or Hugging Face id; of several, the mean of their "
        "probabilities is distilled",
        may_be_file=True,
        nargs="+",
    )
    unlabelled: str | None = flag(
        "folder of photographs without labels: the method's terms learn from them too, "
        "cross-entropy does not; rest: the training images that --limit-train leaves out",
        may_be_file=True,
        metavar="DIR",
    )
    unlabelled_share: float | None = flag(
        "share of each batch that is unlabelled (default: 0.5)", type=probability
    )
    teacher_val: bool = published_switch("measure the teacher's mIoU before training", default=True)
    teacher_amp: str = flag(
        "mixed precision of only the teacher; auto is that of --amp",
        default="auto",
        choices=PRECISIONS,
    )
    method: str = flag(f"'+' joins several: {', '.join(METHODS)}, none (default: sekd-ct)")
    knowledge_distillation_loss: str | None = flag(
        "published name of a --method", choices=tuple(PUBLISHED_LOSSES)
    )
    knowledge_distillation_feature_fusion: str | None = flag(
        "with --knowledge-distillation-loss hcl: CSF is transkd-base, ABF is reviewkd",
        choices=("CSF", "ABF"),
    )
    kd_alpha: float = flag(
        "accepted from published commands, without effect: no published script reads it",
        default=1.0,
        type=non_negative_number,
    )
    kd_weight: float = flag(
        "factor on all terms of the method, beside the cross-entropy",
        default=MethodOptions.weight,
        type=non_negative_number,
    )
    kd_warmup: int = flag(
        "steps in which the method's terms grow to their full weight",
        default=0,
        type=non_negative_integer,
    )
    kd_steps: int | None = flag(
        "steps with a teacher; after them the student learns from labels alone, at its own pace "
        "(default: all)",
        type=positive_integer,
    )
    kd_cache: bool = two_way(
        "run the teacher once on each whole image, and crop its logits to each view of it",
        default=False,
    )
    teacher_image_size: str | int | tuple[int, int] | None = flag(
        "with --kd-cache: size of the images that the teacher sees, such as that of its training: "
        "native, a short side in px, or HEIGHTxWIDTH (default: --image-size)",
        type=image_size,
    )
    temperature: float | None = flag(
        "softmax temperature (default: each method's own)",
        "--temperature",
        "--kd-tau",
        type=positive_number,
    )
    norm_type: str = flag(
        "cwd: what is normalised to a distribution",
        default=MethodOptions.norm_type,
        choices=NORM_TYPES,
    )
    divergence: str = flag(
        "cwd: how distributions are compared",
        default=MethodOptions.divergence,
        nargs="?",
        const="kl",
        choices=DIVERGENCES,
    )
    review_kd_loss_weight: float = flag(
        "weight of the hierarchical context loss (reviewkd, transkd)",
        default=MethodOptions.hcl_weight,
        type=non_negative_number,
    )
    lambda_cwd: float = flag(
        "weight of cwd; 0.3 suits SegFormer, 3 convolutional networks",
        default=MethodOptions.lambda_cwd,
        type=non_negative_number,
    )
    lambda_cwd_features: float = flag(
        "weight of cwd-features",
        default=MethodOptions.lambda_cwd_features,
        type=non_negative_number,
    )
    standardize_logits: bool = two_way(
        "compare z-scores of logits over classes: kd, cwd, dist, bpkd",
        default=MethodOptions.standardize_logits,
    )
    review_width: int = flag(
        "reviewkd: channels in which stages are fused; its authors take 256 to 512",
        default=MethodOptions.review_width,
        type=positive_integer,
    )
    embed_weights: tuple[float, ...] = flag(
        "transkd: weights of the four embedding stages",
        default=MethodOptions.embed_weights,
        type=non_negative_number,
        nargs=4,
    )
    embed: int = flag(
        "embedding stages that take part: 0 none, 1 to 4 that one, 5 all",
        default=MethodOptions.embed,
        type=int,
        choices=range(6),
    )
    gl_residual: bool = two_way(
        "transkd-gl: add the embedding to what the GL-Mixer makes of it",
        default=MethodOptions.gl_residual,
    )

    def settled(self) -> "DistillationOptions":
        """Return a copy whose `method` includes the published loss flags.

        Raises:
            ValueError: flags that contradict each other, an unknown method, or several teachers
                for a method on features.
        """
        published = self._published_method()
        method = self.method or published or DEFAULT_METHOD
        parts = [part.strip() for part in method.split("+")]
        if len(parts) > 1 and "none" in (part.lower() for part in parts):
            raise ValueError(f"--method {method}: none cannot be joined with other methods")
        self._check_unlabelled(parts)
        if self.kd_steps is not None and self.kd_warmup >= self.kd_steps:
            raise ValueError(
                f"--kd-warmup {self.kd_warmup}: terms reach their full weight when the teacher is "
                f"no longer used (--kd-steps {self.kd_steps}): take fewer"
            )
        method = "+".join(find_name("--method", part, (*METHODS, "none")) for part in parts)
        self._check_ensemble(method)
        self._check_cache(method)
        return replace(
            self,
            method=method,
            # Recorded as --method only, so that a resumed run can use either spelling.
            knowledge_distillation_loss=None,
            knowledge_distillation_feature_fusion=None,
        )

    def of_method(self) -> dict[str, Any]:
        """The options of the method, as `losses.build_method` takes them."""
        names = [each.name for each in fields(MethodOptions)]
        return {name: getattr(self, RENAMED.get(name, name)) for name in names}

    def _compares_features(self, method: str) -> bool:
        return find_method(method).compared(MethodOptions(embed=self.embed)) != {"logits"}

    def _check_cache(self, method: str) -> None:
        if self.teacher_image_size is not None and not self.kd_cache:
            raise ValueError(
                "--teacher-image-size belongs to --kd-cache: add that, or leave it out"
            )
        if method == "none" or not self.kd_cache:
            return
        if self.unlabelled is not None:
            raise ValueError("--kd-cache supports labelled images only: leave out --unlabelled")
        if self._compares_features(method):
            raise ValueError(
                f"--method {method} compares features, which in a view are not those of the whole "
                "image: leave out --kd-cache, or take a method on logits alone, such as jml"
            )

    def _check_ensemble(self, method: str) -> None:
        if method == "none" or self.teacher is None or len(self.teacher) < 2:
            return
        if self._compares_features(method):
            raise ValueError(
                f"--method {method} compares features, which several teachers do not share: pass "
                "one --teacher, or a method on logits alone, such as kd"
            )

    def _check_unlabelled(self, parts: list[str]) -> None:
        if self.unlabelled is not None and self.kd_steps is not None:
            raise ValueError(
                "--kd-steps ends what photographs without labels teach: leave out one of the two"
            )
        if self.unlabelled is None and self.unlabelled_share is not None:
            raise ValueError(
                "--unlabelled-share belongs to --unlabelled: add that, or leave it out"
            )
        if self.unlabelled is not None and "none" in (part.lower() for part in parts):
            raise ValueError("--unlabelled needs a teacher, which --method none has not")

    def _published_method(self) -> str | None:
        published = self.knowledge_distillation_loss
        fusion = self.knowledge_distillation_feature_fusion
        named = None if published is None else PUBLISHED_LOSSES[published]
        if fusion is not None:
            if named != "transkd-base":
                raise ValueError(
                    "--knowledge-distillation-feature-fusion belongs to "
                    "--knowledge-distillation-loss hcl; other methods declare their own adapters"
                )
            named = {"CSF": "transkd-base", "ABF": "reviewkd"}[fusion]
        if named and self.method and named != self.method:
            raise ValueError(
                f"--knowledge-distillation-loss {published} means --method {named}, "
                f"not {self.method}: leave one of them out"
            )
        return named
