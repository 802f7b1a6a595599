"""What every stage does with its task: step, validate and save until the schedule ends."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import torch
from accelerate import Accelerator
from PIL import Image
from timm.utils import ModelEmaV3
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import BatchSampler, DataLoader, Dataset
from tqdm import tqdm

from datasets.mixing import BatchMixing
from datasets.sampling import EpochSampler, SeededDataset
from datasets.transforms import collate
from datasets.workers import leave_signals_to_parent
from eval.complexity import training_cost
from train.checkpoint import Keeper, Progress, TrainingState, resume_training
from train.data import Data, describe
from train.loop import Interrupt, Loop, Meter, Schedule
from train.run import Run, opened_folder, saved_flags
from train.trackers import CsvLog, TensorBoardLog, Tracker, Trackers, VisdomLog
from train.validation import Validator

MAX_WARMUP, WARMUP_SHARE = 1500, 0.05
SPEED_COLUMNS = ("images_per_second", "data_waiting")
SCORE_COLUMNS = ("miou", "pixel_accuracy", "fwiou", "train_miou")


def train(run: Run, task: nn.Module, data: Data) -> None:
    """Train the task's student to the end of its schedule, or to an interrupt.

    Writes the run folder: args.yaml, log.csv, TensorBoard events, pictures, last.pth and best.pth.

    Args:
        run: flags, devices and folder.
        task: owns `.student` and, when distilling, `.distiller`.
        data: the splits.

    Raises:
        NonFiniteLossError: a loss term is no longer finite; last.pth is from before.
        KeyboardInterrupt: the user stopped the run; last.pth continues it.
        ValueError: `--resume` from another network or method.
    """
    student = task.student
    loop, state = build_loop(run, task, data)
    info = describe(run, data)
    known_scores = {}
    if run.options.resume:
        saved = resume_training(run.options.resume, student, state)
        known_scores = saved["metrics"]
        check_same_method(saved["method"], info["method"])
        check_same_classes(saved["classes"], data.classes)
        check_same_batches(run, saved["args"], state.progress)
        run.accelerator.print(f"resumed at step {state.progress.step} from {run.options.resume}")
    if state.distiller is not None:
        size = (run.options.height, run.options.width)
        info["training_cost"] = training_cost(student, state.distiller.adapters.values(), *size)
    keeper = Keeper(run.folder, student, info, state, run.options.epochs_save, known_scores)
    validator = Validator(run, state.deployed(student), data)
    if run.accelerator.is_main_process:
        loop.keeper = keeper
    if loop.done:
        flag = "--num-epochs" if run.options.max_steps is None else "--max-steps"
        run.accelerator.print(f"the run has ended: a larger {flag} goes on")
    with (
        opened_folder(run, write_flags=not loop.done),
        open_trackers(run, state.progress) as loop.tracker,
    ):
        run_epochs(run, loop, keeper, validator)
        finish(run, data, keeper, validator, loop.tracker)


def run_epochs(run: Run, loop: Loop, keeper: Keeper, validator: Validator) -> None:
    """Go through the epochs that are left; validate and save where due."""
    accelerator, progress = run.accelerator, loop.progress
    started_at, started = progress.step, time.monotonic()
    with progress_bar(accelerator, loop) as bar, Interrupt().listening() as interrupt:
        while not loop.done:
            meter = loop.run_epoch(bar, interrupt)
            if progress.batch and not loop.done:  # an epoch that was finished is validated first
                stop(run, keeper, progress)
            due = loop.done or progress.epoch % run.options.val_every == 0
            scores = validator.scores() if due else {}
            if accelerator.is_main_process:
                keeper.after_epoch(scores, ended=loop.done, validated=due)
                steps_left = loop.schedule.total_steps - progress.step
                pace = (time.monotonic() - started) / (progress.step - started_at)
                report_epoch(loop, meter, scores, pace * steps_left, validator.data.scored)
                if due:
                    draw_pictures(run, loop, validator)
            if loop.interrupted and not loop.done:
                stop(run, keeper, progress)


def stop(run: Run, keeper: Keeper, progress: Progress) -> NoReturn:
    """Save what the user has interrupted, and end."""
    if run.accelerator.is_main_process:
        keeper.save_last()
    run.accelerator.print(f"stopped at step {progress.step}; continue with --resume")
    raise KeyboardInterrupt


def finish(run: Run, data: Data, keeper: Keeper, validator: Validator, tracker: Tracker) -> None:
    """Evaluate `--test-split` once, with best.pth, and say where everything is."""
    progress = keeper.state.progress
    final = {"best_miou": progress.best_miou, "last_miou": keeper.metrics.get("miou")}
    if data.test is not None:
        run.accelerator.wait_for_everyone()
        keeper.load_best()
        scores = validator.evaluate(data.test)
        if run.accelerator.is_main_process:
            keeper.write_test_scores(run.options.test_split, scores)
        run.accelerator.print(f"mIoU on '{run.options.test_split}': {scores['miou']:.4f}")
        final["test_miou"] = scores["miou"]
    known = {name: score for name, score in final.items() if score is not None}
    tracker.final(known, progress.step)
    run.accelerator.print(f"run folder: {run.folder}")


def build_loop(run: Run, task: nn.Module, data: Data) -> tuple[Loop, TrainingState]:
    """Make loader, optimizer and schedule, and hand them to the accelerator."""
    options, accelerator = run.options, run.accelerator
    distiller = getattr(task, "distiller", None)
    sampler = EpochSampler(len(data.train), options.seed)
    loader = build_loader(data.train, sampler, options.batch_size, options.num_workers)
    optimizer = build_optimizer(
        task, options.lr, options.weight_decay, options.head_lr, options.layer_decay
    )
    if options.sync_bn:
        task = synchronized(task, accelerator)
    if options.compile:
        task.compile()
    task, loader, prepared = accelerator.prepare(task, loader, optimizer)
    schedule = Schedule.of(len(loader), options.accumulate, options.num_epochs, options.max_steps)
    scheduler = build_scheduler(
        optimizer, schedule.total_steps, options.warmup_steps, options.power
    )
    progress = Progress(accelerator.num_processes)
    average = None
    if options.ema is not None:
        student = accelerator.unwrap_model(task).student
        average = ModelEmaV3(student, options.ema, use_warmup=True)
    mixing = BatchMixing(options.cutmix, options.copy_paste)
    loop = Loop(
        accelerator=accelerator,
        task=task,
        loader=loader,
        sampler=sampler,
        optimizer=prepared,
        scheduler=scheduler,
        schedule=schedule,
        progress=progress,
        tracker=Trackers([]),
        seed=options.seed,
        batch_size=options.batch_size * accelerator.num_processes,
        clip_grad=options.clip_grad,
        average=average,
        mixing=mixing if options.cutmix or options.copy_paste else None,
        log_every=(options.steps_loss, options.steps_plot)
        if options.visualize
        else (options.steps_loss,),
    )
    scaler = accelerator.scaler
    return loop, TrainingState(distiller, optimizer, scheduler, scaler, progress, average)


def synchronized(task: nn.Module, accelerator: Accelerator) -> nn.Module:
    """BatchNorm over the images of all processes; nothing to do for a single one.

    Raises:
        ValueError: PyTorch has it on GPUs alone.
    """
    if accelerator.num_processes == 1:
        return task
    if accelerator.device.type != "cuda":
        raise ValueError(f"--sync-bn needs GPUs, not {accelerator.device.type}: leave it out")
    return nn.SyncBatchNorm.convert_sync_batchnorm(task)


def build_loader(
    dataset: Dataset, sampler: EpochSampler, batch_size: int, num_workers: int
) -> DataLoader:
    """Batches of the training split; an incomplete last batch is left out, for BatchNorm's sake."""
    return DataLoader(
        SeededDataset(dataset),
        batch_sampler=BatchSampler(sampler, batch_size, drop_last=True),
        collate_fn=collate,
        num_workers=num_workers,
        worker_init_fn=leave_signals_to_parent,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def build_optimizer(
    task: nn.Module,
    lr: float,
    weight_decay: float,
    head_lr: float = 1.0,
    layer_decay: float = 1.0,
) -> torch.optim.AdamW:
    """AdamW in which vectors, such as norms and biases, do not decay.

    Args:
        task: has `.student` with a `.head`.
        lr: of everything but the head.
        weight_decay: of matrices and kernels.
        head_lr: factor on `lr` for the head.
        layer_decay: factor on `lr` from a block of the encoder to the one before.
    """
    factors = dict.fromkeys(task.student.head.parameters(), head_lr)
    if layer_decay != 1:
        blocks = task.student.encoder.blocks()
        for depth, block in enumerate(reversed(blocks)):
            factors |= dict.fromkeys(block, layer_decay**depth)
    rates: dict[float, list[nn.Parameter]] = {1.0: []}  # first: its rate is the one that is logged
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
    # Fused: one pass over all parameters instead of some ten small operations for each.
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
    """Linear warm-up, then polynomial decay that reaches 0 with the last step.

    The factor is a function of the step alone: a resumed run finds its place, and a run that is
    made longer follows the longer schedule from there on.

    Raises:
        ValueError: the warm-up is as long as the run.
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


def check_same_batches(run: Run, saved: dict, progress: Progress) -> None:
    """Refuse to go on in the middle of an epoch that was cut into other batches.

    Between two epochs the number of processes may change: from then on it is this run's.

    Raises:
        ValueError: naming the flag that differs, or the number of processes.
    """
    options, processes = run.options, run.accelerator.num_processes
    if progress.batch and progress.processes != processes:
        raise ValueError(
            f"--resume: the run was stopped in an epoch that {progress.processes} process(es) "
            f"share: go on with as many, not with {processes}"
        )
    progress.processes = processes
    for name in ("batch_size", "accumulate", "limit_train", "train_split", "seed"):
        if progress.batch and getattr(options, name) != saved.get(name):
            flag = "--" + name.replace("_", "-")
            raise ValueError(
                f"{flag} cannot change in the middle of an epoch: resume with {saved.get(name)}"
            )


@contextmanager
def open_trackers(run: Run, progress: Progress) -> Iterator[Tracker]:
    """The trackers of a run, closed at the end; other processes than the first have none."""
    trackers: list[Tracker] = []
    if run.accelerator.is_main_process:
        trackers = [
            CsvLog(run.folder, progress.epoch),
            TensorBoardLog(run.folder, saved_flags(run), progress.step, run.options.steps_loss),
        ]
        if run.options.visualize:
            name, port, every = run.folder.name, run.options.port, run.options.steps_plot
            trackers.append(VisdomLog(port, name, saved_flags(run), every))
    together = Trackers(trackers)
    try:
        yield together
    finally:
        together.close()


def progress_bar(accelerator: Accelerator, loop: Loop) -> tqdm:
    """A bar over all steps of the run with the time left, on a terminal only."""
    return tqdm(
        total=loop.schedule.total_steps,
        initial=loop.progress.step,
        unit="step",
        dynamic_ncols=True,
        smoothing=0.1,
        disable=None if accelerator.is_main_process else True,
    )


def report_epoch(
    loop: Loop, meter: Meter, scores: dict, seconds_left: float, classes: tuple[str, ...]
) -> None:
    """One line on the terminal and one row in the trackers."""
    progress, schedule, means = loop.progress, loop.schedule, meter.means()
    epoch = progress.epoch + (progress.batch > 0)
    row = {"epoch": epoch, "step": progress.step, "lr": loop.learning_rate, **means}
    row |= dict(zip(SPEED_COLUMNS, (meter.images_per_second, meter.waiting_share), strict=True))
    row |= {column: scores.get(column) for column in SCORE_COLUMNS}
    per_class = scores.get("per_class") or [None] * len(classes)
    row |= {f"iou_{name}": iou for name, iou in zip(classes, per_class, strict=True)}
    loop.tracker.epoch(row, progress.step)
    terms = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
    miou = (
        f"  mIoU {scores['miou']:.4f} (best {progress.best_miou:.4f})" if "miou" in scores else ""
    )
    tqdm.write(
        f"epoch {epoch}/{schedule.epochs}  step {progress.step}/{schedule.total_steps}  "
        f"{terms}{miou}  lr {loop.learning_rate:.2e}  {meter.images_per_second:.1f} img/s  "
        f"left {tqdm.format_interval(seconds_left)}"
    )


def draw_pictures(run: Run, loop: Loop, validator: Validator) -> None:
    """Show the first validation images in the run folder and in the trackers."""
    for name, picture in validator.pictures().items():
        path = run.folder / "pictures" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
        loop.tracker.picture(name, picture, loop.progress.step)
