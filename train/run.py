"""A run: its options, its devices and its folder."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from command_line.device import choose_device
from train.options import OptimisationOptions, Options
from train.precision import resolve_precision
from train.run_folder import ARGUMENTS, check_writable, discard_unsaved, new_run


@dataclass(frozen=True)
class Run:
    """One training run: its options, its devices and its folder."""

    options: Options
    accelerator: Accelerator
    folder: Path


def start_run(options: Options) -> Run:
    """Choose device, precision and folder. Nothing is written yet.

    Raises:
        ValueError: a device or precision that is not to be had here, or a run in the way.
    """
    wanted = options.optimisation
    device = choose_device(wanted.device)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    accelerator = Accelerator(
        cpu=device.type == "cpu",
        mixed_precision=resolve_precision(wanted.amp, device),
        gradient_accumulation_steps=wanted.accumulate,
    )
    # `--savedate` reads the clock: the first process's folder counts.
    if options.run.resume:
        folder = options.run.resume.parent
        check_writable(folder)
    else:
        folder = new_run(options)
    (folder,) = broadcast_object_list([folder])
    torch.manual_seed(options.run.seed)
    torch.set_float32_matmul_precision("high" if wanted.tf32 else "highest")
    accelerator.print(f"run folder: {folder}")
    accelerator.print(_describe_speed(wanted, accelerator))
    return Run(options, accelerator, folder)


@contextmanager
def opened_folder(run: Run, write_flags: bool = True) -> Iterator[None]:
    """Make the run folder for the block, with its `args.yaml`.

    A run that is overwritten lies aside, in a hidden folder beside it, until the block ends. If
    nothing was saved then, such as for a damaged image, everything is as it was: the corrected run
    finds its place free.
    """
    if not run.accelerator.is_main_process:
        yield
        return
    aside = None
    # A folder without args.yaml is no run: what lies in it was not asked to be removed.
    overwritten = run.options.run.overwrite and not run.options.run.resume
    if overwritten and (run.folder / ARGUMENTS).exists():
        aside = Path(tempfile.mkdtemp(prefix=f".{run.folder.name}-", dir=run.folder.parent))
        run.folder.rename(aside / run.folder.name)
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        if write_flags:
            flags = yaml.safe_dump(run.options.saved(), sort_keys=False)
            (run.folder / ARGUMENTS).write_text(flags)
        yield
    finally:
        saved = any(run.folder.glob("*.pth"))
        if not saved:
            discard_unsaved(run.folder)
        if aside is not None:
            if not saved:
                shutil.rmtree(run.folder, ignore_errors=True)
                (aside / run.folder.name).rename(run.folder)
            shutil.rmtree(aside)


def _describe_speed(options: OptimisationOptions, accelerator: Accelerator) -> str:
    """Say what was chosen for this device, by flags or by default."""
    amp = accelerator.mixed_precision
    chosen = [
        str(accelerator.device),
        "float32" if amp == "no" else f"{amp} mixed precision",
        "compiled" if options.compile else "eager",
        "fused AdamW",
    ]
    if accelerator.device.type == "cuda":
        chosen.insert(2, "TF32" if options.tf32 else "no TF32")
    return f"device: {', '.join(chosen)}"
