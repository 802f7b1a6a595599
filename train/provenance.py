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
from models.saving import software_versions
from models.shipped import NAME as SHIPPED
from models.shipped import digest_start
from train.data import Data, files_of, names_of
from train.run import Run
from train.run_folder import RESULTS

ROOT = Path(__file__).resolve().parents[1]


def write_results(
    run: Run,
    data: Data,
    digests: Mapping[str, str | None],
    scores: Mapping[str, float],
    seconds: float,
) -> None:
    """Write the record of a completed run.

    Args:
        run: options, devices and folder.
        data: recorded as a digest of the names and sizes of its files.
        digests: of the network's last weights (`digest_weights`) and of the file it started from
            (`digest_fields`), by name.
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


def digest_fields(run: Run) -> str | None:
    """SHA-256 of the file that `--pretrained fields` loads; None for other initial weights."""
    network = run.options.network
    return digest_start(network.model) if network.pretrained == SHIPPED else None


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
