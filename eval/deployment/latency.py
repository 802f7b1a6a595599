"""Latency of a network by image size: PyTorch beside what the network can be exported to.

What is timed is the network alone: from a normalised image, in memory, to logits.
"""

import argparse
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor
from tqdm import tqdm

from command_line.arguments import image_size
from eval.deployment.deploy import Deployed, OnnxNetwork, open_session, to_onnx, trace
from eval.deployment.machine import describe_machine
from eval.deployment.quantization import calibration_images, quantize
from eval.deployment.timing import interleaved_seconds, median_and_spread
from eval.subject import Subject

SIZES = ((256, 256), (512, 512), (480, 640), (1024, 1024))
CALIBRATION_IMAGES = 4  # the scales that they set cost no time: few will do
WARMUP = 3  # TorchScript optimises in its second call
FEWEST, MOST = 7, 50  # timed calls of each contender
SECONDS = 20  # that a size takes, unless the fewest calls take longer


@dataclass(frozen=True)
class Contender:
    """One way to run the network: a function from (1, 3, H, W) to logits, and where it runs."""

    runtime: str
    device: torch.device
    network: Callable[[Tensor], object]


def latency_size(text: str) -> tuple[int, int]:
    """Read a side in px, or HEIGHTxWIDTH."""
    size = image_size(text)
    if size == "native":
        raise argparse.ArgumentTypeError("expected 512 or 480x640, not 'native'")
    return (size, size) if isinstance(size, int) else size


def measure_latency(
    subject: Subject, device: torch.device, sizes: Sequence[tuple[int, int]]
) -> dict[str, Any]:
    """Time the network at batch 1, in PyTorch and TorchScript on `device`, in ONNX on the CPU.

    Args:
        subject: the network, and the data set that int8 is calibrated on.
        device: of PyTorch.
        sizes: (height, width) in px; without any, `SIZES`.

    Returns:
        Plain types: ``batch``, ``machine``, and ``measured``, one entry for each size and runtime.
        Its ``ratio`` is the speed in units of PyTorch's, None on another device.

    Raises:
        ValueError: there are no images to calibrate int8 on.
    """
    contenders = build_contenders(subject, device)
    measured = []
    for size in tqdm(sizes or SIZES, desc="latency", unit="size", leave=False, disable=None):
        measured += time_contenders(contenders, size)
    machine = describe_machine(device, "onnxruntime")
    return {"batch": 1, "machine": machine, "measured": measured}


def build_contenders(subject: Subject, device: torch.device) -> list[Contender]:
    """Export the network to all that is timed; PyTorch itself comes first."""
    try:
        images = list(calibration_images(subject, CALIBRATION_IMAGES))
    except (ValueError, OSError) as error:
        raise ValueError(
            f"--latency: int8 is calibrated on training images, but {error}"
        ) from error
    cpu = torch.device("cpu")
    network = Deployed(subject.model, subject.preprocessing).to(device)
    graph = to_onnx(copy.deepcopy(network).to(cpu))
    graphs = {"ONNX Runtime float": graph, "ONNX Runtime int8": quantize(graph, images)}
    return [
        Contender("PyTorch", device, network),
        Contender("TorchScript", device, trace(network)),
        *(Contender(name, cpu, OnnxNetwork(open_session(g))) for name, g in graphs.items()),
    ]


@torch.inference_mode()
def time_contenders(contenders: Sequence[Contender], size: tuple[int, int]) -> list[dict[str, Any]]:
    """Time one image (1, 3, height, width) in all contenders, in turns; the first is the unit."""
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    calls = {c.runtime: partial(c.network, image.to(c.device)) for c in contenders}
    a_round = sum(seconds for (seconds,) in interleaved_seconds(calls, 1, WARMUP).values())
    rounds = min(max(FEWEST, int(SECONDS / a_round)), MOST)
    times = interleaved_seconds(calls, rounds, warmup=0)
    unit, _ = median_and_spread(times[contenders[0].runtime])
    measured = []
    for contender in contenders:
        median, spread = median_and_spread(times[contender.runtime])
        measured.append(
            {
                "size": list(size),
                "runtime": contender.runtime,
                "device": str(contender.device),
                "milliseconds": 1000 * median,
                "spread": 1000 * spread,
                "images_per_second": 1 / median,
                "ratio": unit / median if contender.device == contenders[0].device else None,
                "calls": rounds,
            }
        )
    return measured


def print_latency(latency: dict[str, Any], console: Console) -> None:
    """Print the table of `measure_latency`, and the machine that it holds for."""
    table = Table(title="latency of one image, network alone")
    table.add_column("size", no_wrap=True)
    table.add_column("runtime", no_wrap=True)
    for column in ("ms", "spread", "images/s", "x PyTorch"):
        table.add_column(column, justify="right", no_wrap=True)
    for size, rows in groupby(latency["measured"], key=lambda row: row["size"]):
        label = "{} x {}".format(*size)
        for row in rows:
            runtime, ratio = row["runtime"], f"{row['ratio'] or 0:.2f}"
            if row["ratio"] is None:  # not where PyTorch runs
                runtime, ratio = f"{runtime} ({row['device']})", ""
            numbers = (row[key] for key in ("milliseconds", "spread", "images_per_second"))
            table.add_row(label, runtime, *(f"{number:.1f}" for number in numbers), ratio)
            label = ""
        table.add_section()
    console.print(table)
    calls = [row["calls"] for row in latency["measured"]]
    facts = ", ".join(f"{name} {value}" for name, value in latency["machine"].items())
    how = f"medians of {min(calls)} to {max(calls)} calls in turns, spread: distance of quartiles"
    console.print(Text(f"{how}\n{facts}"))
