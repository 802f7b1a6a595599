"""Resume a run from its last.pth, and check that it is the same run."""

from collections.abc import Sequence
from copy import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from models import Segmenter
from train.checkpoint import Progress, TrainingState, load_weights
from train.run import Run
from train.saved_training import Optimizer, Scheduler, check_training

# Flags that determine the images of each batch.
CUT_BY = (
    "batch_size", "accumulate", "limit_train", "train_split", "seed", "unlabelled",
    "unlabelled_share",
)  # fmt: skip


def resume(run: Run, student: Segmenter, state: TrainingState, info: dict) -> dict:
    """Load `--resume` into the student and the state.

    Args:
        run: options, devices and folder.
        student: the network, unwrapped.
        state: initial state of this run.
        info: description stored in this run's checkpoints.

    Returns:
        The latest scores.

    Raises:
        ValueError: the file is of another network, method, teacher or data, or holds no training
            state.
    """
    path, begun = run.options.run.resume, copy(state.progress)
    assert path is not None
    saved = resume_training(path, student, state)
    check_same_method(saved["method"], info["method"])
    check_same_classes(saved["classes"], info["classes"])
    if run.options.distillation is not None:
        files = run.options.distillation.teacher or ()
        check_same_teachers(state.progress.teachers, begun.teachers, files)
    check_same_batches(saved["args"], info["args"], state.progress, begun)
    run.accelerator.print(f"resumed at step {state.progress.step} from {path}")
    return saved["metrics"]


def resume_training(path: Path, student: Segmenter, state: TrainingState) -> dict:
    """Load what `save_training` wrote into the given student and state.

    Learning rate, schedule and weight decay follow from this run's flags, so that a run can be
    extended; with the same flags they are the saved ones.

    Returns:
        The checkpoint's entries besides the weights.

    Raises:
        ValueError: the file holds no training state, or that of another network or method.
    """
    info = load_weights(path, state.deployed(student))
    if info["training"] is None:
        raise ValueError(f"{path} holds weights but no training state: resume from a last.pth")
    training = check_training(info["training"], str(path))
    averaged = training.student is not None
    if averaged != (state.average is not None):
        had = "with" if averaged else "without"
        raise ValueError(f"--resume: {path} was trained {had} --ema: resume it likewise")
    if training.student is not None:
        _load(path, student, training.student, "network")
    if state.distiller is not None:
        _load(path, state.distiller, info["adapters"] or {}, "method")
    _load_optimizer(path, training.optimizer, state.optimizer)
    _load_schedule(training.scheduler, state)
    if state.scaler is not None and training.scaler is not None:
        state.scaler.load_state_dict(training.scaler)
    state.progress.__dict__.update(vars(training.progress))
    return info


def _load(path: Path, module: nn.Module, weights: dict[str, Tensor], of: str) -> None:
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(f"{path} holds the weights of another {of}: {reason}") from None


def _load_optimizer(path: Path, saved: Optimizer, optimizer: torch.optim.Optimizer) -> None:
    """Load the moments of a saved optimizer; keep learning rates and decays of this run's flags."""
    groups = optimizer.param_groups
    parameters = [parameter for group in groups for parameter in group["params"]]
    fits = [len(group.params) for group in saved.param_groups] == [
        len(group["params"]) for group in groups
    ] and all(
        index < len(parameters) and _fit(entry, parameters[index])
        for index, entry in saved.state.items()
    )
    if not fits:
        raise ValueError(f"{path} holds the optimizer of another network")
    optimizer.load_state_dict({**optimizer.state_dict(), "state": saved.state})


def _fit(moments: dict[str, Tensor], parameter: Tensor) -> bool:
    """Whether AdamW's moments have the shape of a parameter; the step count is a scalar."""
    shapes = {name: moment.shape for name, moment in moments.items()}
    return shapes == {"step": (), "exp_avg": parameter.shape, "exp_avg_sq": parameter.shape}


def _load_schedule(saved: Scheduler, state: TrainingState) -> None:
    """Move the schedule of this run's flags to the saved step."""
    scheduler = state.scheduler
    place = saved.model_dump(by_alias=True)
    scheduler.load_state_dict(scheduler.state_dict() | place)
    groups = zip(
        state.optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True
    )
    for group, peak, factor in groups:
        group["initial_lr"] = peak
        group["lr"] = peak * factor(scheduler.last_epoch)


def check_same_method(saved: str | None, method: str | None) -> None:
    """Refuse to continue with another method.

    Raises:
        ValueError: the methods differ; names both.
    """
    if saved != method:
        raise ValueError(f"--resume: the run was trained with --method {saved}, not {method}")


def check_same_teachers(
    saved: Sequence[str] | None, begun: Sequence[str] | None, files: Sequence[str]
) -> None:
    """Refuse to continue with another teacher.

    Args:
        saved: digests of the teachers' files of the run that is resumed; None if unknown.
        begun: of this run; None if it has no teacher.
        files: the teachers' files of this run.

    Raises:
        ValueError: a teacher differs, or there are more or fewer; names the file or the numbers.
    """
    if saved is None or begun is None or saved == begun:
        return
    if len(saved) != len(begun):
        raise ValueError(
            f"--resume: the run began with {len(saved)} teacher(s), not {len(begun)}: resume with "
            "the same --teacher, or start a new run"
        )
    pairs = zip(files, saved, begun, strict=True)
    other = next(file for file, before, now in pairs if before != now)
    raise ValueError(
        f"--resume: the teacher {other} is not the one that the run began with: put that back, or "
        "start a new run"
    )


def check_same_classes(saved: Sequence[str] | None, classes: Sequence[str]) -> None:
    """Refuse to continue with other classes, or the same ones in another order.

    Raises:
        ValueError: the classes differ; names both lists.
    """
    if saved is not None and list(saved) != list(classes):
        raise ValueError(
            f"--resume: the run was trained on the classes {', '.join(saved)}, not "
            f"{', '.join(classes)}: resume with the same --classes"
        )


def check_same_batches(saved: dict, flags: dict, progress: Progress, begun: Progress) -> None:
    """Refuse to continue in the middle of an epoch that was split into different batches.

    Between epochs, the numbers of processes and images may change; `progress` takes over this
    run's.

    Args:
        saved: flags of the run that is resumed.
        flags: of this run.
        progress: of the run that is resumed.
        begun: progress of this run as if newly started.

    Raises:
        ValueError: naming the flag that differs, or the number of processes or images.
    """
    if progress.batch:
        _check_same_epoch(saved, flags, progress, begun)
    progress.processes = begun.processes
    progress.images, progress.names = begun.images, begun.names
    progress.unlabelled = begun.unlabelled


def _check_same_epoch(saved: dict, flags: dict, progress: Progress, begun: Progress) -> None:
    if progress.processes != begun.processes:
        raise ValueError(
            f"--resume: the run was stopped in an epoch that {progress.processes} process(es) "
            f"share: go on with as many, not with {begun.processes}"
        )
    for name in CUT_BY:
        if flags.get(name) != saved.get(name):
            flag = "--" + name.replace("_", "-")
            raise ValueError(
                f"{flag} cannot change in the middle of an epoch: resume with {saved.get(name)}"
            )
    counts = (
        ("training images", progress.images, begun.images),
        ("unlabelled images", progress.unlabelled, begun.unlabelled),
    )
    for kind, before, now in counts:
        if before is not None and before != now:
            raise ValueError(
                f"--resume: the run was stopped in an epoch of {before} {kind}, and now there are "
                f"{now}: bring back the same ones, or start anew under another --run-name"
            )
    if progress.names not in (None, begun.names):
        raise ValueError(
            "--resume: the run was stopped in an epoch of other training images, or of the same "
            "ones in another order: bring back the list, or start anew under another --run-name"
        )
