"""A run: its options, its devices and its folder."""

import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from command_line.device import choose_device
from command_line.outputs import remove_temporaries, replacing
from train.folder_lock import locked
from train.options import OptimisationOptions, Options
from train.overwriting import recover, undone_unless_saved
from train.precision import resolve_precision
from train.run_folder import ARGUMENTS, REPLACED, check_savedir, new_run


@dataclass(frozen=True)
class Run:
    """One training run: its options, its devices and its folder."""

    options: Options
    accelerator: Accelerator
    folder: Path


def start_run(options: Options) -> Run:
    """Choose device, precision and folder. Nothing is written yet.

    Raises:
        ValueError: a device or precision that is not available here, or the folder already holds a
            run.
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
    # `--savedate` reads the clock, so all processes use the first one's folder.
    if options.run.resume:
        folder = options.run.resume.parent
        check_savedir(folder)
    else:
        recover(options.folder)
        folder = new_run(options)
    (folder,) = broadcast_object_list([folder])
    # Of depthwise kernels (C, 1, 3, 3), whose strides can be written in two ways: the warning is
    # without consequence here.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    torch.manual_seed(options.run.seed)
    torch.set_float32_matmul_precision("high" if wanted.tf32 else "highest")
    if wanted.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
        torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(wanted.deterministic, warn_only=True)
    accelerator.print(f"run folder: {folder}")
    accelerator.print(_describe_speed(wanted, accelerator))
    return Run(options, accelerator, folder)


def locked_folder(run: Run) -> AbstractContextManager[None]:
    """Lock the run folder during the block; the first process does it for all.

    Raises:
        ValueError: another process is training in it.
    """
    return locked(run.folder) if run.accelerator.is_main_process else nullcontext()


@contextmanager
def opened_folder(run: Run, write_flags: bool = True) -> Iterator[None]:
    """Create the run folder for the block, with its `args.yaml`.

    If no checkpoint was saved by the end of the block, for example because of a damaged image, the
    folder is restored to its previous state, so that a corrected run can use the same name.
    """
    if not run.accelerator.is_main_process:
        yield
        return
    overwritten = run.options.run.overwrite and not run.options.run.resume
    with undone_unless_saved(run.folder, overwritten):
        run.folder.mkdir(parents=True, exist_ok=True)
        remove_temporaries(run.folder, REPLACED)
        if write_flags:
            flags = yaml.safe_dump(run.options.saved(), sort_keys=False)
            with replacing(run.folder / ARGUMENTS) as temporary:
                temporary.write_text(flags)
        yield


def _describe_speed(options: OptimisationOptions, accelerator: Accelerator) -> str:
    """Describe the device, and the settings chosen for it by flags or by default."""
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
