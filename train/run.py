"""A run: its flags, its devices and its folder."""

import argparse
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
from train.options import arguments_to_save
from train.precision import resolve_precision
from train.run_folder import ARGUMENTS, check_writable, discard_unsaved, new_run


@dataclass
class Run:
    """One training run: its flags, its devices and its folder."""

    options: argparse.Namespace
    accelerator: Accelerator
    folder: Path


def start_run(options: argparse.Namespace) -> Run:
    """Choose device, precision and folder. Nothing is written yet.

    Raises:
        ValueError: a device or precision that is not to be had here, or a run in the way.
    """
    device = choose_device(options.device)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    accelerator = Accelerator(
        cpu=device.type == "cpu",
        mixed_precision=resolve_precision(options.amp, device),
        gradient_accumulation_steps=options.accumulate,
    )
    # `--savedate` reads the clock: the first process's folder counts.
    if options.resume:
        folder = options.resume.parent
        check_writable(folder)
    else:
        folder = new_run(options)
    (folder,) = broadcast_object_list([folder])
    torch.manual_seed(options.seed)
    torch.set_float32_matmul_precision("high" if options.tf32 else "highest")
    accelerator.print(f"run folder: {folder}")
    accelerator.print(_describe_speed(options, accelerator))
    return Run(options, accelerator, folder)


def saved_flags(run: Run) -> dict:
    """The resolved flags, as args.yaml and the checkpoints hold them."""
    return {"stage": run.options.stage, **arguments_to_save(run.options)}


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
    overwritten = run.options.overwrite and not run.options.resume
    if overwritten and (run.folder / ARGUMENTS).exists():
        aside = Path(tempfile.mkdtemp(prefix=f".{run.folder.name}-", dir=run.folder.parent))
        run.folder.rename(aside / run.folder.name)
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        if write_flags:
            flags = yaml.safe_dump(saved_flags(run), sort_keys=False)
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


def _describe_speed(options: argparse.Namespace, accelerator: Accelerator) -> str:
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
