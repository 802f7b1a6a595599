"""Latency of a network by image size, in PyTorch and in the runtimes that it can be exported to.

Two times are measured: the network alone, from a normalised image in memory to logits; and a whole
frame, from an image file to class ids at the file's size.
"""

import argparse
import copy
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor
from tqdm import tqdm

from command_line.arguments import image_size
from conventions.preprocessing import Preprocessing
from datasets.reading import read_image
from eval.deployment.deploy import Deployed, to_onnx, trace
from eval.deployment.machine import describe_machine
from eval.deployment.quantization import calibration_images, quantize
from eval.deployment.timing import interleaved_seconds, median_and_spread
from eval.exported.network import OnnxNetwork, RuntimeNetwork
from eval.exported.openvino_ir import OpenVinoNetwork, to_openvino
from eval.inference import WHOLE
from eval.photographs.predictor import Predictor
from eval.subject import Subject

SIZES = ((256, 256), (512, 512), (480, 640), (1024, 1024))
CALIBRATION_IMAGES = 4  # few suffice, as the quantisation scales do not affect latency
COMPARED = 4  # images whose class ids are compared
WARMUP = 3  # TorchScript optimises in its second call
FEWEST, MOST = 7, 50  # timed calls per contender
SECONDS = 20  # approximate duration per size, unless the fewest calls take longer


@dataclass(frozen=True)
class Contender:
    """A way to run the network, float images (B, 3, H, W) -> logits, and its device."""

    runtime: str
    device: torch.device
    network: Callable[[Tensor], Tensor]
    preprocessing: Preprocessing


def latency_size(text: str) -> tuple[int, int]:
    """Read a side in px, or HEIGHTxWIDTH."""
    size = image_size(text)
    if isinstance(size, str):
        raise argparse.ArgumentTypeError("expected 512 or 480x640, not 'native'")
    return (size, size) if isinstance(size, int) else size


def measure_latency(
    subject: Subject, device: torch.device, sizes: Sequence[tuple[int, int]]
) -> dict[str, Any]:
    """Time the network at batch size 1: a checkpoint in all runtimes, an exported file in its own.

    Args:
        subject: the network, and the data set for int8 calibration.
        device: of PyTorch and TorchScript; the others run on the CPU.
        sizes: (height, width) in px; `SIZES` if empty.

    Returns:
        Plain types: `batch`, `machine`, `frame` ([height, width] of the image file), and
        `measured`, one entry per size and runtime. Its `ratio` is the speed relative to the
        first runtime, None on another device; `frame_milliseconds` is the time from the file to
        class ids; `labels_equal` is the share of class ids over `COMPARED` images that equal
        those of the first runtime.

    Raises:
        ValueError: there are no images to calibrate int8 on.
    """
    contenders = build_contenders(subject, device)
    files = image_files(subject)
    measured = []
    for size in tqdm(sizes or SIZES, desc="latency", unit="size", leave=False, disable=None):
        rows = time_contenders(contenders, size)
        measured += add_frames(rows, contenders, size, files) if files else rows
    machine = describe_machine(device, "onnxruntime", "openvino")
    frame = list(read_image(files[0]).shape[-2:]) if files else None
    return {"batch": 1, "machine": machine, "frame": frame, "measured": measured}


def image_files(subject: Subject) -> list[Path]:
    """Return image files spread over the split; none if the data set has no files."""
    pairs = getattr(subject.dataset, "pairs", [])
    count = min(COMPARED, len(pairs))
    return [pairs[index * len(pairs) // count][0] for index in range(count)]


def build_contenders(subject: Subject, device: torch.device) -> list[Contender]:
    """Export the network to all runtimes that are timed; PyTorch itself comes first.

    OpenVINO is timed if it is installed, in float32, in its default precision if that differs, and
    in int8.
    """
    cpu = torch.device("cpu")
    if isinstance(subject.model, RuntimeNetwork):
        network = subject.model
        return [Contender(network.runtime, network.device, network, subject.preprocessing)]
    try:
        images = list(calibration_images(subject, CALIBRATION_IMAGES))
    except (ValueError, OSError) as error:
        raise ValueError(
            f"--latency: int8 is calibrated on training images, but {error}"
        ) from error
    deployed = Deployed(subject.model, subject.preprocessing).to(device)
    graph = to_onnx(copy.deepcopy(deployed).to(cpu))
    int8 = quantize(graph, images)
    script = trace(deployed)
    exported: dict[str, Callable[[Tensor], Tensor]] = {
        "ONNX Runtime float": OnnxNetwork(graph),
        "ONNX Runtime int8": OnnxNetwork(int8),
    }
    if importlib.util.find_spec("openvino"):
        model = to_openvino(graph)
        for found in (OpenVinoNetwork(model, "float32"), OpenVinoNetwork(model)):
            exported.setdefault(found.runtime, found)
        exported["OpenVINO int8"] = OpenVinoNetwork(to_openvino(int8))
    preprocessing = subject.preprocessing
    return [
        Contender("PyTorch", device, lambda image: deployed(image)[0], preprocessing),
        Contender("TorchScript", device, lambda image: script(image)[0], preprocessing),
        *(Contender(name, cpu, found, preprocessing) for name, found in exported.items()),
    ]


@torch.inference_mode()
def time_contenders(contenders: Sequence[Contender], size: tuple[int, int]) -> list[dict[str, Any]]:
    """Time one image (1, 3, height, width) in all contenders, in turns; ratios are to the first."""
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    times = seconds_of({c.runtime: partial(c.network, image.to(c.device)) for c in contenders})
    unit, _ = median_and_spread(times[contenders[0].runtime])
    measured = []
    for contender in contenders:
        seconds = times[contender.runtime]
        median, spread = median_and_spread(seconds)
        measured.append(
            {
                "size": list(size),
                "runtime": contender.runtime,
                "device": str(contender.device),
                "milliseconds": 1000 * median,
                "spread": 1000 * spread,
                "images_per_second": 1 / median,
                "ratio": unit / median if contender.device == contenders[0].device else None,
                "calls": len(seconds),
            }
        )
    return measured


def add_frames(
    rows: list[dict[str, Any]],
    contenders: Sequence[Contender],
    size: tuple[int, int],
    files: Sequence[Path],
) -> list[dict[str, Any]]:
    """Time whole frames in turns and compare class ids with the first contender's; extend the rows.

    Args:
        rows: from `time_contenders`.
        contenders: the same ones.
        size: (height, width) that images are resized to.
        files: image files; the first one is timed.
    """
    frames = {c.runtime: partial(segment_file, predictor_of(c, size)) for c in contenders}
    times = seconds_of({name: partial(frame, files[0]) for name, frame in frames.items()})
    first, *_ = frames.values()
    expected = [first(file) for file in files]
    for row in rows:
        frame = frames[row["runtime"]]
        median, spread = median_and_spread(times[row["runtime"]])
        equal = [frame(f) == labels for f, labels in zip(files, expected, strict=True)]
        row["frame_milliseconds"], row["frame_spread"] = 1000 * median, 1000 * spread
        row["labels_equal"] = float(sum(part.sum() for part in equal) / sum(p.size for p in equal))
    return rows


def predictor_of(contender: Contender, size: tuple[int, int]) -> Predictor:
    """Return a predictor that resizes images to `size` and class ids back to the source's size."""
    preprocessing = replace(contender.preprocessing, image_size=size)
    return Predictor(contender.network, preprocessing, WHOLE, contender.device)


def segment_file(predictor: Predictor, path: Path) -> np.ndarray:
    """Decode a file, resize and segment it; return class ids (H, W) at the file's size."""
    return predictor(read_image(path), confidence=False)[0]


def seconds_of(calls: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Time calls in turns, for about `SECONDS`."""
    a_round = sum(seconds for (seconds,) in interleaved_seconds(calls, 1, WARMUP).values())
    rounds = min(max(FEWEST, int(SECONDS / a_round)), MOST)
    return interleaved_seconds(calls, rounds, warmup=0)


def print_latency(latency: dict[str, Any], console: Console) -> None:
    """Print the tables of `measure_latency`, and the machine on which it ran."""
    rows = latency["measured"]
    first = rows[0]["runtime"]
    columns = ("ms", "spread", "images/s", f"x {first}")
    console.print(_table("latency of one image, network alone", columns, rows, _network_cells))
    if latency["frame"]:
        columns = ("ms", "spread", "images/s", "same ids %")
        console.print(_table("latency of a whole frame", columns, rows, _frame_cells))
    calls = [row["calls"] for row in rows]
    facts = ", ".join(f"{name} {value}" for name, value in latency["machine"].items())
    how = f"medians of {min(calls)} to {max(calls)} calls in turns, spread: distance of quartiles"
    if latency["frame"]:
        size = "{} x {}".format(*latency["frame"])
        how += (
            f"\nframe: from a file of {size} to class ids of that size: decoding, resizing, "
            f"network, argmax\nsame ids: share of the class ids that equal those of {first}"
        )
    console.print(Text(f"{how}\n{facts}"))


def _table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[dict[str, Any]],
    cells: Callable[[dict[str, Any]], list[str]],
) -> Table:
    table = Table(title=title)
    table.add_column("size", no_wrap=True)
    table.add_column("runtime", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for size, group in groupby(rows, key=lambda row: row["size"]):
        label = "{} x {}".format(*size)
        for row in group:
            elsewhere = f" ({row['device']})" if row["ratio"] is None else ""
            table.add_row(label, row["runtime"] + elsewhere, *cells(row))
            label = ""
        table.add_section()
    return table


def _network_cells(row: dict[str, Any]) -> list[str]:
    numbers = [row[key] for key in ("milliseconds", "spread", "images_per_second")]
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
    return [*(f"{number:.1f}" for number in numbers), ratio]


def _frame_cells(row: dict[str, Any]) -> list[str]:
    milliseconds = row["frame_milliseconds"]
    numbers = [milliseconds, row["frame_spread"], 1000 / milliseconds]
    return [*(f"{number:.1f}" for number in numbers), f"{100 * row['labels_equal']:.2f}"]
