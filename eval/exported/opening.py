"""Opening `--state`: a checkpoint, or a file that export.py wrote for another runtime."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from eval.exported import openvino_ir, tensorrt_engine
from eval.exported.description import read_description
from eval.exported.network import OnnxNetwork, RuntimeNetwork
from eval.exported.openvino_ir import OpenVinoNetwork
from eval.exported.tensorrt_engine import TensorRtNetwork
from models import Segmenter, load_checkpoint

LoadedNetwork = Segmenter | RuntimeNetwork
Opened = tuple[RuntimeNetwork, dict[str, str]]


def load_network(
    args: argparse.Namespace, device: torch.device
) -> tuple[LoadedNetwork, dict[str, Any]]:
    """Open `--state` and return a network and its metadata, like `load_checkpoint`.

    Args:
        args: `state`, `model` and `precision`.
        device: for a checkpoint's network; that of an exported file is fixed and must match.

    Raises:
        ValueError, OSError: the file cannot be read, its runtime is not installed or does not run
            on the device, or a flag has no effect on this file.
    """
    path = Path(args.state)
    suffix = path.suffix.lower()
    if args.precision is not None and suffix != ".xml":
        raise ValueError(f"--precision belongs to an OpenVINO file (.xml), not to {args.state}")
    if suffix not in OPENERS or path.is_dir():
        return load_checkpoint(args.state, model=args.model, map_location=device)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if args.model is not None:
        raise ValueError(f"--model: {path} is a graph and needs no network: leave it out")
    network, facts = OPENERS[suffix](path, args.precision)
    if network.device.type != device.type:
        flag = "--cpu" if network.device.type == "cpu" else f"--device {network.device.type}"
        raise ValueError(f"{path}: runs on {network.device.type}: pass {flag}")
    return network, read_description(facts, str(path))


def _open_onnx(path: Path, _: str | None) -> Opened:
    try:
        network = OnnxNetwork(path)
        facts = network.session.get_modelmeta().custom_metadata_map
    except Exception as error:  # onnxruntime's exceptions have no other common base
        raise ValueError(f"{path}: ONNX Runtime cannot read it ({_first_line(error)})") from error
    return network, facts


def _open_openvino(path: Path, precision: str | None) -> Opened:
    openvino = openvino_ir.import_openvino()
    if not path.with_suffix(".bin").is_file():
        raise FileNotFoundError(f"{path.with_suffix('.bin')}: is needed beside {path}: copy both")
    try:
        model = openvino.Core().read_model(path)
    except RuntimeError as error:
        raise ValueError(f"{path}: OpenVINO cannot read it ({_first_line(error)})") from error
    return OpenVinoNetwork(model, precision), openvino_ir.read_facts(model)


def _open_tensorrt(path: Path, _: str | None) -> Opened:
    network = TensorRtNetwork(path.read_bytes())
    return network, tensorrt_engine.read_facts(path)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason")


OPENERS: dict[str, Callable[[Path, str | None], Opened]] = {
    ".onnx": _open_onnx,
    ".xml": _open_openvino,
    ".engine": _open_tensorrt,
}
