"""Export a checkpoint for deployment: ONNX, OpenVINO, TensorRT, TorchScript, Hugging Face.

    python eval/export.py --state runs/student-SegformerB0-CWFID --format onnx
    python eval/export.py --state runs/student-SegformerB0-CWFID --format int8 --datadir data/cwfid

Every export is run and compared with PyTorch before it is moved to its final path. `eval.py` and
`predict.py` accept ONNX, OpenVINO and TensorRT files as --state.
"""

import argparse
import importlib.util
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

import torch
from rich.console import Console
from torch import Tensor, nn

from command_line.arguments import (
    add_state,
    default_workers,
    image_size,
    non_negative_integer,
    positive_integer,
)
from command_line.cli import OneLineParser, run
from command_line.outputs import check_writable, replacing
from conventions.preprocessing import Preprocessing
from datasets import DATASETS
from eval.complexity import count_parameters
from eval.deployment.agreement import compare
from eval.deployment.deploy import (
    OPSET,
    Deployed,
    quiet,
    save_graph,
    signature,
    to_onnx,
    trace,
)
from eval.deployment.quantization import CALIBRATION_IMAGES, calibration_images, quantize
from eval.evaluator import evaluate, evaluation_loader
from eval.exported.description import UNTOUCHED, describe
from eval.exported.network import OnnxNetwork, RuntimeNetwork
from eval.exported.openvino_ir import OpenVinoNetwork, import_openvino, save_openvino, to_openvino
from eval.exported.tensorrt_engine import (
    SIDE,
    TensorRtNetwork,
    build_engine,
    import_tensorrt,
    save_engine,
)
from eval.subject import Subject, load_subject
from models import MODELS, Segmenter, load_checkpoint
from models.files import resolve
from models.huggingface import save_huggingface

SUFFIXES = {"onnx": ".onnx", "int8": ".int8.onnx", "openvino": ".xml",
            "openvino-int8": ".int8.xml", "tensorrt": ".engine",
            "torchscript": ".torchscript.pt", "huggingface": "-huggingface"}  # fmt: skip
INT8 = ("int8", "openvino-int8")


def main() -> None:
    """Run the command line."""
    args = build_parser().parse_args()
    check_flags(args)
    target = choose_target(args)
    console = Console(highlight=False, soft_wrap=True)
    writers = {"onnx": write_onnx, "int8": write_int8, "openvino": write_openvino,
               "openvino-int8": write_int8, "tensorrt": write_tensorrt,
               "torchscript": write_torchscript, "huggingface": write_huggingface}  # fmt: skip
    writers[args.format](args, target, console)
    console.print(f"wrote {target}")


def check_flags(args: argparse.Namespace) -> None:
    """Raise on flags that would have no effect, and on missing runtimes.

    Raises:
        ValueError: a flag does not fit the format, or its library is not installed.
    """
    data = ("dataset", "datadir", "subset", "classes", "image_size", "calibration_images",
            "num_workers")  # fmt: skip
    for name in () if args.format in INT8 else data:
        if getattr(args, name) is None or (name, args.format) == ("image_size", "tensorrt"):
            continue
        formats = "int8, openvino-int8" + (" or tensorrt" if name == "image_size" else "")
        flag = "--" + name.replace("_", "-")
        raise ValueError(f"{flag} belongs to --format {formats}: leave it out")
    if args.format.startswith("openvino"):
        import_openvino()
        if args.output is not None and args.output.suffix.lower() != ".xml":
            raise ValueError(f"--output {args.output}: an OpenVINO file is called .xml")
    elif args.output is not None and args.output.suffix.lower() == ".xml":
        raise ValueError(f"--output {args.output}: only --format openvino writes an .xml file")
    if args.format == "tensorrt":
        import_tensorrt()
    if args.format == "huggingface" and (args.with_preprocessing or args.with_argmax):
        raise ValueError(
            "--with-preprocessing and --with-argmax need a graph; a Hugging Face folder has none"
        )


def choose_target(args: argparse.Namespace) -> Path:
    """Return the path to write: `--output`, or beside the checkpoint.

    Raises:
        ValueError: `--output` is needed but missing, or is the checkpoint itself.
        OSError: it is a folder but should be a file or vice versa, or it cannot be written.
    """
    source, target = resolve(args.state), args.output
    if target is None and not Path(args.state).exists():
        raise ValueError(f"--output is needed: {args.state} has no folder of its own here")
    if target is None:
        target = (source / "model" if source.is_dir() else source).with_suffix("")
        target = target.with_name(target.name + SUFFIXES[args.format])
    if target.resolve() == source.resolve():
        raise ValueError(f"--output {target}: is the checkpoint that is exported")
    if args.format == "huggingface" and target.is_file():
        raise FileExistsError(f"--output {target}: is a file; a folder is written")
    if args.format != "huggingface" and target.is_dir():
        raise IsADirectoryError(f"--output {target}: is a folder; a file is written")
    check_writable(target, "--output")
    return target


def write_onnx(args: argparse.Namespace, target: Path, console: Console) -> None:
    """Write an ONNX graph after checking that it agrees with PyTorch."""
    model, info = load(args)
    deployed = deploy(model, info, args)
    graph = to_onnx(deployed)
    console.print(f"ONNX opset {OPSET}: {signature(graph)}")
    compare(deployed, OnnxNetwork(graph).run, "ONNX Runtime", console)
    save_graph(graph, facts_of(deployed, info), target)


def write_openvino(args: argparse.Namespace, target: Path, console: Console) -> None:
    """Write an OpenVINO file that agrees with PyTorch in float32; print bfloat16's deviation."""
    model, info = load(args)
    deployed = deploy(model, info, args)
    graph = to_onnx(deployed)
    console.print(signature(graph))
    exported = to_openvino(graph)
    network = OpenVinoNetwork(exported, "float32")
    compare(deployed, network.run, network.runtime, console)
    usual = OpenVinoNetwork(exported)
    if usual.runtime != network.runtime:  # OpenVINO's default precision on this processor
        compare(deployed, usual.run, usual.runtime, console, exact=False)
    save_openvino(exported, facts_of(deployed, info), target)


def write_tensorrt(args: argparse.Namespace, target: Path, console: Console) -> None:
    """Write a TensorRT engine for this machine's GPU after checking it against PyTorch."""
    model, info = load(args)
    deployed = deploy(model, info, args)
    size = args.image_size or info["preprocessing"].get("image_size")
    size = SIDE if size in (None, "native") else size
    size = (size, size) if isinstance(size, int) else tuple(size)
    graph = to_onnx(deployed)
    console.print(f"TensorRT, tuned for {size[0]} x {size[1]}: {signature(graph)}")
    engine = build_engine(graph, size)
    network = TensorRtNetwork(engine)
    compare(deployed, lambda images: [part.cpu() for part in network.run(images)],
            network.runtime, console)  # fmt: skip
    save_engine(engine, facts_of(deployed, info), target)


def write_torchscript(args: argparse.Namespace, target: Path, console: Console) -> None:
    """Write a TorchScript file after checking that it agrees with PyTorch."""
    model, info = load(args)
    deployed = deploy(model, info, args)
    with replacing(target) as temporary, quiet():
        trace(deployed).save(str(temporary))
        script = torch.jit.load(str(temporary))
        compare(deployed, script, "TorchScript", console)


def write_huggingface(args: argparse.Namespace, target: Path, console: Console) -> None:
    """Write a folder for transformers after checking that it agrees with PyTorch."""
    model, info = load(args)
    with tempfile.TemporaryDirectory() as folder:
        save_huggingface(model, folder, info["classes"], info)
        name, network = read_huggingface(folder)
        compare(deploy(model, info, args), lambda images: [network(images)], name, console)
    save_huggingface(model, target, info["classes"], info)


def read_huggingface(folder: str) -> tuple[str, Callable[[Tensor], Tensor]]:
    """Return the name of the library that reads the folder, and a function from images to logits.

    Uses transformers if it is installed, otherwise this project, which does not depend on it.
    """
    if not importlib.util.find_spec("transformers"):
        model, _ = load_checkpoint(folder)
        return "the folder, read by this project,", model
    import transformers

    transformers.utils.logging.disable_progress_bar()
    model = transformers.SegformerForSemanticSegmentation.from_pretrained(folder).eval()
    return "transformers", lambda images: model(images).logits


def write_int8(args: argparse.Namespace, target: Path, console: Console) -> None:
    """Write an int8 graph for ONNX Runtime or OpenVINO, and print its loss in mIoU."""
    subject = load_subject(args, torch.device("cpu"))
    deployed = deploy(subject.model, subject.info, args)
    count = args.calibration_images or CALIBRATION_IMAGES
    images = list(calibration_images(subject, count, raw=args.with_preprocessing))
    console.print(f"int8 ONNX opset {OPSET}, calibrated on {len(images)} images")
    graph = quantize(to_onnx(deployed), images)
    console.print(signature(graph))
    exported = to_openvino(graph) if args.format == "openvino-int8" else None
    network = OnnxNetwork(graph) if exported is None else OpenVinoNetwork(exported)
    name = f"{network.runtime}, int8"
    compare(deployed, network.run, name, console, exact=False, images=images[:1])
    before, after = (100 * miou(part, subject, args) for part in (subject.model, network))
    console.print(
        f"mIoU on {subject.dataset.name} ({subject.dataset.split}, {len(subject.dataset)} images): "
        f"PyTorch {before:.2f} %, {name} {after:.2f} %: {before - after:.2f} points lost"
    )
    # Record the image size that the graph was calibrated and scored at.
    facts = facts_of(deployed, subject.info | {"preprocessing": subject.preprocessing.plain()})
    if exported is None:
        save_graph(graph, facts, target)
    else:
        save_openvino(exported, facts, target)


def load(args: argparse.Namespace) -> tuple[Segmenter, dict[str, Any]]:
    """Load the network and its checkpoint's metadata."""
    return load_checkpoint(args.state, model=args.model)


def deploy(model: nn.Module, info: dict[str, Any], args: argparse.Namespace) -> Deployed:
    """Wrap the network with preprocessing and argmax, according to the flags."""
    preprocessing = Preprocessing.read(info["preprocessing"])
    return Deployed(model, preprocessing, args.with_preprocessing, args.with_argmax)


def facts_of(deployed: Deployed, info: dict[str, Any]) -> dict[str, str]:
    """Return the metadata of the exported file."""
    return describe(info, deployed.with_preprocessing, count_parameters(deployed.model))


def miou(network: nn.Module, subject: Subject, args: argparse.Namespace) -> float:
    """Return the mIoU of a network, or of an exported graph, on the subject's split."""
    raw = isinstance(network, RuntimeNetwork) and network.takes_bytes
    workers = default_workers() if args.num_workers is None else args.num_workers
    metrics = evaluate(
        network,
        evaluation_loader(subject.dataset, workers),
        num_classes=subject.labels.outputs,
        ignore_index=subject.labels.ignored,
        preprocessing=UNTOUCHED if raw else subject.preprocessing,
        device="cpu",
    )
    return metrics.compute()["miou"]


def build_parser() -> OneLineParser:
    """Build the argument parser."""
    parser = OneLineParser(description="Export a checkpoint to what a robot runs.")
    add = parser.add_argument
    add_state(add)
    add(
        "--format",
        required=True,
        choices=tuple(SUFFIXES),
        help="int8 and openvino-int8 are quantised; tensorrt is built for the GPU of this machine",
    )
    add("--output", type=Path, help="file or folder to write (default: beside the checkpoint)")
    add(
        "--with-preprocessing",
        action="store_true",
        help="the graph takes uint8 RGB images instead of normalised floats",
    )
    add(
        "--with-argmax",
        action="store_true",
        help="the graph has a second output, labels: class ids at the image's size",
    )
    add("--model", help=f"network that a bare file holds: {', '.join(MODELS)}")
    data = parser.add_argument_group("data for int8, openvino-int8 (default: as in training)")
    data.add_argument("--dataset", help=f"one of {', '.join(DATASETS)}")
    data.add_argument("--datadir", type=Path, help="where the data set is")
    data.add_argument(
        "--subset", help="split to measure mIoU on (default: the data set's, often val)"
    )
    data.add_argument("--classes", help="class names of data in VOC layout: a,b,c or a text file")
    data.add_argument(
        "--image-size",
        type=image_size,
        help="size that images are brought to: native, a short side in px, or HEIGHTxWIDTH",
    )
    data.add_argument(
        "--calibration-images",
        type=positive_integer,
        metavar="N",
        help="images of the training split that activations are measured on "
        f"(default: {CALIBRATION_IMAGES})",
    )
    data.add_argument(
        "--num-workers",
        type=non_negative_integer,
        help="processes that read data (default: one per CPU core, at most 4)",
    )
    # Other flags that load_subject reads: whole images, and the checkpoint's protocol.
    parser.set_defaults(inference="whole", window=None, overlap=None, tta=None)
    parser.set_defaults(distillation_type=None, protocol=None, num_classes=None, precision=None)
    return parser


if __name__ == "__main__":
    run(main)
