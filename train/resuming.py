"""Go on with a run from its last.pth, if it is the same run."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from train.checkpoint import Progress, TrainingState, load_weights
from train.run import Run

# Flags that say which images a batch holds.
CUT_BY = (
    "batch_size", "accumulate", "limit_train", "train_split", "seed", "unlabelled",
    "unlabelled_share",
)  # fmt: skip


def resume(run: Run, student: nn.Module, state: TrainingState, info: dict) -> dict:
    """Load `--resume` into the student and the state.

    Args:
        run: options, devices and folder.
        student: the bare network.
        state: of a run that starts.
        info: what this run's checkpoints say about themselves.

    Returns:
        The last known scores.

    Raises:
        ValueError: the file is of another network, method or data, or holds no training state.
    """
    path = run.options.run.resume
    saved = resume_training(path, student, state)
    check_same_method(saved["method"], info["method"])
    check_same_classes(saved["classes"], info["classes"])
    processes = run.accelerator.num_processes
    check_same_batches(saved["args"], info["args"], state.progress, processes)
    run.accelerator.print(f"resumed at step {state.progress.step} from {path}")
    return saved["metrics"]


def resume_training(path: Path, student: nn.Module, state: TrainingState) -> dict:
    """Load what `save_training` wrote into the given student and state.

    The learning rate, its schedule and the weight decay are those of the state's own flags, so
    that a run can be made longer; with the same flags they are the saved ones.

    Returns:
        What the checkpoint says about itself.

    Raises:
        ValueError: the file holds no training state, or that of another network or method.
    """
    info = load_weights(path, state.deployed(student))
    training = info["training"]
    if training is None:
        raise ValueError(f"{path} holds weights but no training state: resume from a last.pth")
    averaged = "student" in training
    if averaged != (state.average is not None):
        had = "with" if averaged else "without"
        raise ValueError(f"--resume: {path} was trained {had} --ema: resume it likewise")
    if averaged:
        student.load_state_dict(training["student"])
    if state.distiller is not None:
        try:
            state.distiller.load_state_dict(info["adapters"] or {})
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise ValueError(f"{path} holds the adapters of another method: {reason}") from None
    _load_optimizer(path, training["optimizer"], state.optimizer)
    _load_schedule(training["scheduler"], state)
    if state.scaler is not None and training["scaler"] is not None:
        state.scaler.load_state_dict(training["scaler"])
    state.progress.__dict__.update(training["progress"])
    return info


def _load_optimizer(path: Path, saved: dict, optimizer: torch.optim.Optimizer) -> None:
    decays = [group["weight_decay"] for group in optimizer.param_groups]
    try:
        optimizer.load_state_dict(saved)
    except ValueError as error:
        raise ValueError(f"{path} holds the optimizer of another network: {error}") from None
    for group, decay in zip(optimizer.param_groups, decays, strict=True):
        group["weight_decay"] = decay


def _load_schedule(saved: dict, state: TrainingState) -> None:
    """Go to the saved step of the schedule that the flags describe."""
    scheduler = state.scheduler
    scheduler.load_state_dict(saved | {"base_lrs": scheduler.base_lrs})
    groups = zip(
        state.optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True
    )
    for group, peak, factor in groups:
        group["initial_lr"] = peak
        group["lr"] = peak * factor(scheduler.last_epoch)


def check_same_method(saved: str | None, method: str | None) -> None:
    """Refuse to go on with another method.

    Raises:
        ValueError: telling both.
    """
    if saved != method:
        raise ValueError(f"--resume: the run was trained with --method {saved}, not {method}")


def check_same_classes(saved: Sequence[str] | None, classes: Sequence[str]) -> None:
    """Refuse to go on with classes that are others, or the same ones in another order.

    Raises:
        ValueError: telling both lists.
    """
    if saved is not None and list(saved) != list(classes):
        raise ValueError(
            f"--resume: the run was trained on the classes {', '.join(saved)}, not "
            f"{', '.join(classes)}: resume with the same --classes"
        )


def check_same_batches(saved: dict, flags: dict, progress: Progress, processes: int) -> None:
    """Refuse to go on in the middle of an epoch that was cut into other batches.

    Between two epochs the number of processes may change: from then on it is this run's.

    Raises:
        ValueError: naming the flag that differs, or the number of processes.
    """
    if progress.batch and progress.processes != processes:
        raise ValueError(
            f"--resume: the run was stopped in an epoch that {progress.processes} process(es) "
            f"share: go on with as many, not with {processes}"
        )
    progress.processes = processes
    for name in CUT_BY:
        if progress.batch and flags.get(name) != saved.get(name):
            flag = "--" + name.replace("_", "-")
            raise ValueError(
                f"{flag} cannot change in the middle of an epoch: resume with {saved.get(name)}"
            )
