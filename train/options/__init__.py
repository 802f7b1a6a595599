"""The options of a training run: frozen dataclasses, one per concern."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from train.options.data import DataOptions
from train.options.distillation import REST, UNLABELLED_SHARE, DistillationOptions
from train.options.flag import flag_of
from train.options.network import NetworkOptions
from train.options.optimisation import OptimisationOptions
from train.options.run import LoggingOptions, RunOptions

__all__ = [
    "DataOptions",
    "DistillationOptions",
    "LoggingOptions",
    "NetworkOptions",
    "OptimisationOptions",
    "Options",
    "RunOptions",
]


@dataclass(frozen=True)
class Options:
    """All options of one run of a stage; only the stage "sekd" has distillation options."""

    stage: str
    run: RunOptions
    network: NetworkOptions
    data: DataOptions
    optimisation: OptimisationOptions
    logging: LoggingOptions
    distillation: DistillationOptions | None = None

    @classmethod
    def of(cls, stage: str, values: dict[str, Any]) -> "Options":
        """Group the values of all flags, by field name, into dataclasses and resolve them.

        Raises:
            ValueError: values that contradict each other, or an unknown name.
        """

        def take(concern: type) -> Any:
            chosen = {each.name: values[each.name] for each in fields(concern)}
            frozen = {k: tuple(v) if isinstance(v, list) else v for k, v in chosen.items()}
            return concern(**frozen)

        options = cls(
            stage,
            run=take(RunOptions),
            network=take(NetworkOptions).settled(),
            data=take(DataOptions).settled(),
            optimisation=take(OptimisationOptions).settled(),
            logging=take(LoggingOptions),
            distillation=take(DistillationOptions).settled() if stage == "sekd" else None,
        )
        options._check_unlabelled()
        options._check_cache()
        return options

    def _check_unlabelled(self) -> None:
        if self.distillation is None or self.distillation.unlabelled is None:
            return
        if self.optimisation.batch_size < 2:
            raise ValueError("--unlabelled needs --batch-size 2 or more: one image has a label")
        if self.data.protocol == "paper":
            raise ValueError("--unlabelled needs --protocol standard: the published one has none")
        if self.distillation.unlabelled == REST and self.data.limit_train is None:
            raise ValueError(
                "--unlabelled rest: add --limit-train N, the number of images with labels"
            )

    def _check_cache(self) -> None:
        if not self.caches_teacher:
            return
        data = self.data
        mixed = {"--cutmix": data.cutmix, "--copy-paste": data.copy_paste}
        if used := [name for name, probability in mixed.items() if probability]:
            raise ValueError(
                f"--kd-cache stores logits of whole images, and {used[0]} combines parts of "
                "several: leave one of the two out"
            )
        if data.protocol == "paper":
            raise ValueError(
                "--kd-cache does not support the augmentation of --protocol paper: leave one of "
                "the two out"
            )

    @property
    def unlabelled_per_batch(self) -> int:
        """Unlabelled images in the batch of one process; at least one, never all of them."""
        if self.distillation is None or self.distillation.unlabelled is None:
            return 0
        share, batch = self.distillation.unlabelled_share, self.optimisation.batch_size
        wanted = round((UNLABELLED_SHARE if share is None else share) * batch)
        return min(batch - 1, max(1, wanted))

    @property
    def caches_teacher(self) -> bool:
        """Whether there is a teacher that only runs on whole images (`--kd-cache`)."""
        distillation = self.distillation
        return distillation is not None and distillation.kd_cache and self.method != "none"

    @property
    def of_distillation(self) -> DistillationOptions:
        """The distillation options, for code of the stage "sekd" only."""
        assert self.distillation is not None
        return self.distillation

    @property
    def method(self) -> str | None:
        """The distillation method; None for the other stages."""
        return None if self.distillation is None else self.distillation.method

    @property
    def run_name(self) -> str:
        """`<stage>-<model>-<dataset>[-<method>]`, unless `--run-name` overrides it."""
        parts = [self.stage, self.network.model, self.data.dataset, self.method]
        return self.run.run_name or "-".join(part for part in parts if part is not None)

    @property
    def folder(self) -> Path:
        """The run folder, without the date that `--savedate` appends to its name."""
        return self.run.savedir / self.run_name

    def saved(self) -> dict[str, Any]:
        """Stage and flags as plain types, as stored in args.yaml and checkpoints."""
        concerns = (self.run, self.network, self.data, self.optimisation, self.logging)
        flags = {
            each.name: _plain(getattr(concern, each.name), flag_of(each).may_be_file)
            for concern in (*concerns, self.distillation)
            if concern is not None
            for each in fields(concern)
            if flag_of(each).saved
        }
        return {"stage": self.stage, **dict(sorted(flags.items()))}


def _plain(value: Any, may_be_file: bool) -> Any:
    """Convert a value for YAML; paths become absolute, since the run may be read from elsewhere."""
    if isinstance(value, tuple):
        plain = [_plain(item, may_be_file) for item in value]
        return plain[0] if len(plain) == 1 else plain
    if isinstance(value, Path) or (may_be_file and value and Path(value).exists()):
        return str(Path(value).absolute())
    return value
