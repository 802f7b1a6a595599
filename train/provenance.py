"""results.json: the scores of a run, and everything needed to reproduce them."""

import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from command_line.outputs import replacing
from eval.deployment.machine import describe_machine
from models.files import digest
from models.saving import software_versions
from models.shipped import NAME as SHIPPED
from train.checkpoint import Progress
from train.data import Data, files_of, names_of
from train.networks import find_start
from train.run import Run
from train.run_folder import RESULTS

ROOT = Path(__file__).resolve().parents[1]


def write_results(
    run: Run,
    data: Data,
    digests: Mapping[str, str | list[str] | None],
    scores: Mapping[str, float],
    seconds: float,
) -> None:
    """Write the record of a completed run.

    Args:
        run: options, devices and folder.
        data: recorded as a digest of the names and sizes of its files.
        digests: of the network's last weights (`digest_weights`) and of the files that it started
            from and was taught by (`record_sources`), by name.
        scores: by name.
        seconds: training time of this process only, without those before a resume.
    """
    record = {
        "command": shlex.join(["python", *sys.argv]),
        "flags": run.options.saved(),
        "seed": run.options.run.seed,
        "processes": run.accelerator.num_processes,
        "scores": dict(scores),
        **digests,
        "data_sha256": digest_files(data),
        "git": git_state(),
        "versions": software_versions("accelerate"),
        "hardware": describe_machine(run.accelerator.device),
        "seconds": round(seconds, 1),
        "resumed": run.options.run.resume is not None,
    }
    with replacing(run.folder / RESULTS) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def digest_weights(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names and values of a state dict."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def record_sources(run: Run, progress: Progress) -> None:
    """Record the SHA-256 of the files that a run starts from and is taught by in its progress.

    A resumed run does not load the weights that it started from: its checkpoint has their digest.
    """
    network = run.options.network
    start = None if run.options.run.resume else find_start(network)
    progress.start = None if start is None else digest(start)
    progress.fields = progress.start if network.pretrained == SHIPPED else None
    if run.options.method not in (None, "none"):
        teachers = run.options.of_distillation.teacher
        assert teachers is not None  # `find_teachers` has found them
        progress.teachers = [digest(Path(teacher)) for teacher in teachers]


def digest_files(data: Data) -> str:
    """SHA-256 of names and sizes of training and validation files; contents are not read."""
    digest = hashlib.sha256()
    for path in files_of(data):
        size = path.stat().st_size if path.exists() else -1
        digest.update(f"{path.name} {size}\n".encode())
    return digest.hexdigest()


def digest_names(data: Data) -> str:
    """SHA-256 of the names of the training images, in order, independent of their folder."""
    return hashlib.sha256("\n".join(names_of(data.train_plain)).encode()).hexdigest()


def git_state() -> dict[str, Any] | None:
    """The project's commit, and whether tracked files differ from it; None outside a repository."""
    try:
        commit, changes = (
            subprocess.run(
                ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "dirty": bool(changes)}
