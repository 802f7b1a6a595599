"""Export a checkpoint to what a robot runs: ONNX, int8 ONNX, TorchScript, a Hugging Face folder.

    python eval/export.py --state runs/student-SegformerB0-CWFID --format onnx
    python eval/export.py --state runs/student-SegformerB0-CWFID --format int8 --datadir data/cwfid

Every export is run and compared with PyTorch before it gets its name.
"""

import argparse
import importlib.util
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import onnx
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import DataLoader

from datasets import DATASETS, build_dataset
from datasets.transforms import collate, normalize
from eval.arguments import add_state, image_size, non_negative_integer, positive_integer
from eval.cli import OneLineParser, run
from eval.deploy import (
    OPSET,
    TRACED,
    Deployed,
    OnnxNetwork,
    describe,
    open_session,
    quiet,
    to_onnx,
    trace,
)
from eval.evaluator import evaluate
from eval.quantization import quantize
from eval.subject import Subject, load_subject
from models import MODELS, load_checkpoint
from models.files import replacing, resolve
from models.weights import save_huggingface

TOLERANCE = 1e-3
CHECKED = ((1, 3, 64, 64), (1, 3, 129, 95), (3, 3, 33, 160))  # none is the size of the trace
SUFFIXES = {"onnx": ".onnx", "int8": ".int8.onnx", "torchscript": ".torchscript.pt",
            "huggingface": "-huggingface"}  # fmt: skip
# Bytes of 0..255 as they are, for graphs that prepare images themselves.
UNTOUCHED = {"mean": [0.0] * 3, "std": [1 / 255] * 3}


def main() -> None:
    """Run the command line."""
    args = build_parser().parse_args()
    check_flags(args)
    target = choose_target(args)
    console = Console(highlight=False, soft_wrap=True)
    write = {"onnx": write_onnx, "int8": write_int8, "torchscript": write_torchscript,
             "huggingface": write_huggingface}[args.format]  # fmt: skip
    write(args, target, console)
    console.print(f"wrote {target}")


def check_flags(args: argparse.Namespace) -> None:
    """Refuse flags that would do nothing.

    Raises:
        ValueError: naming the flag.
    """
    if args.format != "int8":
        data = ("dataset", "datadir", "subset", "classes", "image_size", "calibration_images",
                "num_workers")  # fmt: skip
        for name in data:
            if getattr(args, name) is not None:
                flag = "--" + name.replace("_", "-")
                raise ValueError(f"{flag} belongs to --format int8: leave it out")
    if args.format == "huggingface" and (args.with_preprocessing or args.with_argmax):
        raise ValueError(
            "--with-preprocessing and --with-argmax need a graph; a Hugging Face folder has none"
        )


def choose_target(args: argparse.Namespace) -> Path:
    """Return where to write: ``--output``, or beside the checkpoint.

    Raises:
        ValueError: nothing says where, or it is the checkpoint itself.
        OSError: a folder where a file is meant, or a file where a folder is.
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
    return target


def write_onnx(args: argparse.Namespace, target: Path, console: Console) -> None:
    """Write an ONNX graph that agrees with PyTorch."""
    model, info = load(args)
    deployed = deploy(model, info, args)
    graph = to_onnx(deployed)
    describe(graph, info, deployed)
    console.print(f"ONNX opset {OPSET}: {signature(graph)}")
    compare(deployed, OnnxNetwork(open_session(graph)).run, "ONNX Runtime", console)
    save_graph(graph, target)


def write_torchscript(args: argparse.Namespace, target: Path, console: Console) -> None:
    """Write a TorchScript file that agrees with PyTorch."""
    model, info = load(args)
    deployed = deploy(model, info, args)
    with replacing(target) as temporary, quiet():
        trace(deployed).save(str(temporary))
        script = torch.jit.load(str(temporary))
        compare(deployed, script, "TorchScript", console)


def write_huggingface(args: argparse.Namespace, target: Path, console: Console) -> None:
    """Write a folder for transformers; it is compared where transformers is installed."""
    model, info = load(args)
    with tempfile.TemporaryDirectory() as folder:
        save_huggingface(model, folder, info["classes"], info)
        name, network = read_huggingface(folder)
        compare(deploy(model, info, args), lambda images: [network(images)], name, console)
    save_huggingface(model, target, info["classes"], info)


def read_huggingface(folder: str) -> tuple[str, Callable[[Tensor], Tensor]]:
    """Return who reads the folder, and a function from images to logits.

    That is transformers where it is installed: this project itself does not need it.
    """
    if not importlib.util.find_spec("transformers"):
        model, _ = load_checkpoint(folder)
        return "the folder, read by this project,", model
    import transformers

    transformers.utils.logging.disable_progress_bar()
    model = transformers.SegformerForSemanticSegmentation.from_pretrained(folder).eval()
    return "transformers", lambda images: model(images).logits


def write_int8(args: argparse.Namespace, target: Path, console: Console) -> None:
    """Write an int8 ONNX graph, and say what it costs in mIoU."""
    subject = load_subject(args, torch.device("cpu"))
    deployed = deploy(subject.model, subject.info, args)
    images = list(calibration_images(subject, args))
    console.print(f"int8 ONNX opset {OPSET}, calibrated on {len(images)} images")
    graph = quantize(to_onnx(deployed), images)
    describe(graph, subject.info, deployed)
    console.print(signature(graph))
    network = OnnxNetwork(open_session(graph))
    compare(deployed, network.run, "int8", console, exact=False, images=images[:1])
    before, after = (100 * miou(part, subject, args) for part in (subject.model, network))
    console.print(
        f"mIoU on {subject.dataset.name} ({subject.dataset.split}, {len(subject.dataset)} images): "
        f"PyTorch {before:.2f} %, int8 {after:.2f} %: {before - after:.2f} points lost"
    )
    save_graph(graph, target)


def load(args: argparse.Namespace) -> tuple[nn.Module, dict[str, Any]]:
    """Load the network and what its checkpoint says."""
    return load_checkpoint(args.state, model=args.model)


def deploy(model: nn.Module, info: dict[str, Any], args: argparse.Namespace) -> Deployed:
    """Put preprocessing and argmax around the network, as the flags say."""
    return Deployed(model, info["preprocessing"], args.with_preprocessing, args.with_argmax)


def calibration_images(subject: Subject, args: argparse.Namespace) -> Iterator[Tensor]:
    """Yield inputs of the graph from all over the split that networks are trained on."""
    dataset = subject.dataset
    root, split = dataset.root, dataset.default_train_split
    train = build_dataset(
        dataset.name, root, split, transform=dataset.transform, classes=list(dataset.classes)
    )
    count = min(args.calibration_images or 32, len(train))
    preprocessing = subject.preprocessing
    for index in range(count):
        image = train[index * len(train) // count]["image"][None]
        if not args.with_preprocessing:
            image = normalize(image, preprocessing["mean"], preprocessing["std"])
        yield image.contiguous()


def miou(network: nn.Module, subject: Subject, args: argparse.Namespace) -> float:
    """Score a network, or a graph in its place, on the subject's split."""
    raw = isinstance(network, OnnxNetwork) and network.takes_bytes
    dataset, workers = subject.dataset, args.num_workers
    metrics = evaluate(
        network,
        DataLoader(dataset, num_workers=4 if workers is None else workers, collate_fn=collate),
        num_classes=dataset.num_classes,
        ignore_index=dataset.ignore_index,
        preprocessing=subject.preprocessing | (UNTOUCHED if raw else {}),
        device="cpu",
        progress=None,
    )
    return metrics.compute()["miou"]


@torch.inference_mode()
def compare(
    deployed: Deployed,
    runtime: Callable[[Tensor], Any],
    name: str,
    console: Console,
    exact: bool = True,
    images: list[Tensor] | None = None,
) -> None:
    """Print how far a runtime is from PyTorch, at sizes other than that of the trace.

    Args:
        deployed: the reference.
        runtime: returns the same outputs, as tensors or arrays.
        name: of the runtime.
        console: to print to.
        exact: logits may differ by `TOLERANCE` at most; else the difference is printed only.
        images: inputs; by default drawn ones of the sizes `CHECKED`.

    Raises:
        ValueError: it is farther than the tolerance.
    """
    for image in images or [deployed.example(shape) for shape in CHECKED]:
        assert image.shape != TRACED
        expected, found = deployed(image), runtime(image)
        logits = torch.as_tensor(found[0])
        difference = (logits - expected[0]).abs().max().item()
        same = (logits.argmax(1) == expected[0].argmax(1)).float().mean().item()
        if deployed.with_argmax:
            same = (torch.as_tensor(found[1]) == expected[1]).float().mean().item()
        shape = " x ".join(map(str, image.shape))
        console.print(
            f"{name} against PyTorch, {shape}: logits differ by at most {difference:.1e} "
            f"(largest logit {expected[0].abs().max():.1f}), {100 * same:.2f} % of classes agree"
        )
        if exact and not difference <= TOLERANCE:
            raise ValueError(
                f"{name} differs from PyTorch by {difference:.1e}, more than {TOLERANCE:g}: "
                "nothing was written"
            )


def signature(graph: onnx.ModelProto) -> str:
    """Return the graph's inputs and outputs with their types and sizes."""

    def show(value: onnx.ValueInfoProto) -> str:
        kind = value.type.tensor_type
        sizes = [d.dim_param or str(d.dim_value) for d in kind.shape.dim]
        name = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
        return f"{value.name} {name} ({', '.join(sizes)})"

    ends = (graph.graph.input, graph.graph.output)
    return " -> ".join(", ".join(map(show, values)) for values in ends)


def save_graph(graph: onnx.ModelProto, target: Path) -> None:
    """Write the graph, whole or not at all."""
    with replacing(target) as temporary:
        temporary.write_bytes(graph.SerializeToString())


def build_parser() -> OneLineParser:
    """Return the command line."""
    parser = OneLineParser(description="Export a checkpoint to what a robot runs.")
    add = parser.add_argument
    add_state(add)
    add("--format", required=True, choices=tuple(SUFFIXES), help="int8 is ONNX, quantised")
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
    data = parser.add_argument_group("data for int8 (default: what the checkpoint was trained on)")
    data.add_argument("--dataset", help=f"one of {', '.join(DATASETS)}")
    data.add_argument("--datadir", type=Path, help="where the data set lies")
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
        help="images of the training split that activations are measured on (default: 32)",
    )
    data.add_argument(
        "--num-workers", type=non_negative_integer, help="processes that read data (default: 4)"
    )
    # What load_subject reads besides: whole images, by the checkpoint's own protocol.
    parser.set_defaults(inference="whole", window=None, overlap=None, tta=None)
    parser.set_defaults(distillation_type=None, protocol=None, num_classes=None)
    return parser


if __name__ == "__main__":
    run(main)
