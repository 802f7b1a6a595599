"""Training of a task, shared by all stages: train, validate and save until the schedule ends."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from accelerate import Accelerator
from PIL import Image
from timm.utils import ModelEmaV3
from torch import nn
from torch.utils.data import BatchSampler, ConcatDataset, DataLoader, Dataset
from tqdm import tqdm

from command_line.outages import OutageError, find_outage
from command_line.outputs import replacing
from command_line.progress import progress as show_progress
from datasets.mixing import BatchMixing
from datasets.sampling import EpochSampler, MixedSampler, SeededDataset
from datasets.transforms import collate
from datasets.workers import leave_signals_to_parent
from eval.complexity import training_cost
from train.checkpoint import Keeper, Progress, TrainingState
from train.data import Data, checkpoint_info
from train.loop import Interrupt, Loop, Parts, Schedule
from train.meter import Meter
from train.optimizer import build_optimizer, build_scheduler
from train.provenance import digest_names, digest_weights, record_sources, write_results
from train.resuming import resume
from train.run import Run, locked_folder, opened_folder
from train.tasks import Task
from train.trackers import Tracker, open_trackers
from train.validation import Validator

SPEED_COLUMNS = ("images_per_second", "data_waiting")
COUNT_COLUMNS = (SKIPPED, REPLACED) = ("skipped_steps", "replaced_images")
SCORE_COLUMNS = ("miou", "pixel_accuracy", "fwiou", "train_miou")


def train(run: Run, task: Task, data: Data) -> None:
    """Train the task's student until its schedule ends, or until an interrupt.

    Writes the run folder: args.yaml, log.csv, TensorBoard events, pictures, last.pth and best.pth.

    Args:
        run: options, devices and folder.
        task: owns the student and, when distilling, the adapters.
        data: the splits.

    Raises:
        NonFiniteLossError: a loss term is no longer finite; last.pth is from before.
        KeyboardInterrupt: the user stopped the run; last.pth continues it.
        OutageError: a failure of the machine, such as a full disk; last.pth is from before.
        ValueError: `--resume` from another network, method, teacher or data, or another process is
            training in the run folder.
        OSError: the data set or the run folder has disappeared.
    """
    began = time.monotonic()
    parts = prepare(run, task, data)
    record_sources(run, parts.state.progress)
    with locked_folder(run):
        keeper = build_keeper(run, task, data, parts.state)
        validator = Validator(run, keeper.network, data)
        if parts.done:
            flag = "--num-epochs" if run.options.optimisation.max_steps is None else "--max-steps"
            run.accelerator.print(f"the run has ended; a larger {flag} continues it")
        with (
            outages_told(keeper),
            torch.autograd.set_detect_anomaly(run.options.optimisation.detect_anomaly),
            opened_folder(run, write_flags=not parts.done),
            open_trackers(run, parts.state.progress, parts.done) as tracker,
        ):
            total, done = parts.schedule.total_steps, parts.state.progress.step
            hidden = not run.accelerator.is_main_process
            with (
                show_progress("train", "step", total, hidden, done) as bar,
                Interrupt().listening() as interrupt,
            ):
                loop = Loop(run, parts, keeper, tracker, bar, interrupt)
                while not parts.done:
                    meter = loop.run_epoch()
                    finish_epoch(loop, validator, meter)
            finish(run, keeper, validator, tracker, began)


def prepare(run: Run, task: Task, data: Data) -> Parts:
    """Build loader, optimizer and schedule, prepared by the accelerator."""
    options, accelerator = run.options.optimisation, run.accelerator
    images, sampler = training_images(run, data)
    loader = build_loader(images, sampler, options.batch_size, run.options.data.num_workers)
    optimizer = build_optimizer(
        task, options.lr, options.weight_decay, options.head_lr, options.layer_decay
    )
    module = synchronized(task, accelerator) if options.sync_bn else task
    if options.compile:
        module.compile()
    module, loader, prepared = accelerator.prepare(module, loader, optimizer)
    schedule = Schedule.of(len(loader), options.accumulate, options.num_epochs, options.max_steps)
    steps = (schedule.total_steps, options.warmup_steps, options.power)
    ema = options.ema
    state = TrainingState(
        distiller=task.distiller,
        optimizer=optimizer,
        scheduler=build_scheduler(optimizer, *steps),
        scaler=accelerator.scaler,
        progress=Progress(
            accelerator.num_processes,
            images=len(data.train),
            names=digest_names(data),
            unlabelled=0 if data.unlabelled is None else len(data.unlabelled),
        ),
        average=None if ema is None else ModelEmaV3(task.student, ema, use_warmup=True),
    )
    mixing = BatchMixing(run.options.data.cutmix, run.options.data.copy_paste)
    return Parts(module, loader, sampler, prepared, schedule, state, mixing)


def build_keeper(run: Run, task: Task, data: Data, state: TrainingState) -> Keeper:
    """Build the `Keeper` of a run, after restoring student and state for `--resume`."""
    info = checkpoint_info(run, data)
    scores = resume(run, task.student, state, info) if run.options.run.resume else {}
    if task.distiller is not None:
        size = (run.options.data.height, run.options.data.width)
        adapters = task.distiller.adapters.values()
        info["training_cost"] = training_cost(task.student, adapters, *size)
    return Keeper(
        folder=run.folder,
        student=task.student,
        info=info,
        state=state,
        every=run.options.logging.epochs_save,
        metrics=scores,
        saved_step=state.progress.step if run.options.run.resume else None,
        writes=run.accelerator.is_main_process,
    )


def finish_epoch(loop: Loop, validator: Validator, meter: Meter) -> None:
    """Validate and save if due, and stop if the user requested it."""
    run, progress, done = loop.run, loop.progress, loop.parts.done
    if progress.batch and not done:  # interrupted within an epoch; a finished one is validated
        stop(loop)
    due = done or progress.epoch % run.options.logging.val_every == 0
    scores = validator.scores() if due else {}
    loop.keeper.after_epoch(scores, ended=done, validated=due)
    if run.accelerator.is_main_process:
        report_epoch(loop, meter, scores, validator.data.scored)
        if due:
            draw_pictures(run, loop, validator)
    if due or loop.keeper.due:
        loop.keeper.save_last()
    if loop.interrupted and not done:
        stop(loop)


@contextmanager
def outages_told(keeper: Keeper) -> Iterator[None]:
    """Add to the message of an outage what is kept of the run.

    Raises:
        OutageError: see `command_line.outages`.
    """
    try:
        yield
    except Exception as error:
        if (outage := find_outage(error)) is None:
            raise
        raise OutageError(f"{outage}; {keeper.kept}") from error


def stop(loop: Loop) -> NoReturn:
    """Save the run that the user has interrupted, and exit."""
    loop.keeper.save_last()
    loop.run.accelerator.print(f"stopped at step {loop.progress.step}; continue with --resume")
    raise KeyboardInterrupt


def finish(run: Run, keeper: Keeper, validator: Validator, tracker: Tracker, began: float) -> None:
    """Evaluate `--test-split` with best.pth, write results.json, and print the run folder."""
    digest = digest_weights(keeper.network.state_dict())  # before best.pth is loaded
    progress, split = keeper.state.progress, run.options.data.test_split
    final = {"best_miou": progress.best_miou, "last_miou": keeper.metrics.get("miou")}
    if validator.data.test is not None:
        run.accelerator.wait_for_everyone()
        keeper.load_best()
        scores = validator.evaluate(validator.data.test)
        assert split is not None
        keeper.write_test_scores(split, scores)
        run.accelerator.print(f"mIoU on '{split}': {scores['miou']:.4f}")
        final["test_miou"] = scores["miou"]
    known = {name: score for name, score in final.items() if score is not None}
    tracker.final(known, progress.step)
    if run.accelerator.is_main_process:
        digests = {
            "weights_sha256": digest,
            "fields_sha256": progress.fields,
            "start_sha256": progress.start,
            "teacher_sha256": progress.teachers,
        }
        write_results(run, validator.data, digests, known, time.monotonic() - began)
    run.accelerator.print(f"run folder: {run.folder}")


def synchronized(task: nn.Module, accelerator: Accelerator) -> nn.Module:
    """Convert BatchNorm to SyncBatchNorm; does nothing for a single process.

    Raises:
        ValueError: not on a GPU, which SyncBatchNorm needs.
    """
    if accelerator.num_processes == 1:
        return task
    if accelerator.device.type != "cuda":
        raise ValueError(f"--sync-bn needs GPUs, not {accelerator.device.type}: leave it out")
    return nn.SyncBatchNorm.convert_sync_batchnorm(task)


def training_images(run: Run, data: Data) -> tuple[Dataset, EpochSampler]:
    """Training images and their order; with `--unlabelled`, part of each batch is unlabelled."""
    seed, batch_size = run.options.run.seed, run.options.optimisation.batch_size
    if data.unlabelled is None:
        return data.train, EpochSampler(len(data.train), seed)
    counts = (len(data.unlabelled), batch_size, run.options.unlabelled_per_batch)
    both: ConcatDataset[Any] = ConcatDataset([data.train, data.unlabelled])
    return both, MixedSampler(len(data.train), seed, *counts)


def build_loader(
    dataset: Dataset, sampler: EpochSampler, batch_size: int, num_workers: int
) -> DataLoader:
    """Build the training loader, which drops an incomplete last batch because of BatchNorm."""
    return DataLoader(
        SeededDataset(dataset),
        batch_sampler=BatchSampler(sampler, batch_size, drop_last=True),  # type: ignore[arg-type]  # of any index
        collate_fn=collate,
        num_workers=num_workers,
        worker_init_fn=leave_signals_to_parent,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def report_epoch(loop: Loop, meter: Meter, scores: dict, classes: Sequence[str]) -> None:
    """Print one line, and log one row to the trackers."""
    progress, schedule, means = loop.progress, loop.parts.schedule, meter.means()
    epoch = progress.epoch + (progress.batch > 0)
    row: dict[str, Any] = {"epoch": epoch, "step": progress.step, "lr": loop.learning_rate, **means}
    row |= dict(zip(SPEED_COLUMNS, (meter.images_per_second, meter.waiting_share), strict=True))
    counts = epoch_counts(loop.run, meter)
    row |= counts
    row |= {column: scores.get(column) for column in SCORE_COLUMNS}
    per_class = scores.get("per_class") or [None] * len(classes)
    row |= {f"iou_{name}": iou for name, iou in zip(classes, per_class, strict=True)}
    loop.tracker.epoch(row, progress.step)
    terms = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
    miou = (
        f"  mIoU {scores['miou']:.4f} (best {progress.best_miou:.4f})" if "miou" in scores else ""
    )
    told = "".join(f"  {name.replace('_', ' ')} {n}" for name, n in counts.items() if n)
    loop.bar.write(
        f"epoch {epoch}/{schedule.epochs}  step {progress.step}/{schedule.total_steps}  "
        f"{terms}{told}{miou}  lr {loop.learning_rate:.2e}  {meter.images_per_second:.1f} img/s  "
        f"left {tqdm.format_interval(loop.seconds_left)}",
        file=sys.stdout,
    )


def epoch_counts(run: Run, meter: Meter) -> dict[str, int]:
    """Skipped steps and replaced images of an epoch, as log columns, where flags allow them."""
    counts = {}
    if run.accelerator.scaler is not None:
        counts[SKIPPED] = meter.tally.skipped
    if run.options.data.skips_bad:
        counts[REPLACED] = meter.tally.replaced
    return counts


def draw_pictures(run: Run, loop: Loop, validator: Validator) -> None:
    """Save the pictures of the validator to the run folder and the trackers."""
    for name, picture in validator.pictures().items():
        path = run.folder / "pictures" / f"{name}.png"
        with replacing(path) as temporary:
            Image.fromarray(picture).save(temporary, "PNG")
        loop.tracker.picture(name, picture, loop.progress.step)
