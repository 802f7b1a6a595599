"""Seconds of a forward pass of the exported network, by runtime."""

import sys
from pathlib import Path

if not __package__:  # run by path: the project root, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from command_line.ending import end_quietly

    end_quietly()

import torch

from benchmarks.measuring import OURS, add_shape, build_parser, compare, read_device, shape_name
from command_line.cli import run
from conventions.preprocessing import Preprocessing
from eval.deployment.deploy import Deployed, to_onnx
from eval.deployment.quantization import quantize
from eval.exported.network import OnnxNetwork
from models import build_model

CLASSES = 3


@torch.inference_mode()
def main() -> None:
    """Run the command line."""
    parser = build_parser(__doc__, rounds=9)
    add_shape(parser)
    parser.set_defaults(batch=[1], size=[256, 512, 1024])
    parser.add_argument("--model", default="SegformerB0")
    args = parser.parse_args()
    device = read_device(args)
    deployed = Deployed(build_model(args.model, CLASSES), Preprocessing())
    graph = to_onnx(deployed)
    smaller = quantize(graph, [torch.rand(1, 3, 256, 256)])
    float_, int8 = (OnnxNetwork(found) for found in (graph, smaller))
    deployed = deployed.to(device)
    for size in args.size:
        for batch in args.batch:
            images = torch.rand(batch, 3, size, size)
            on_device = images.to(device)
            contenders = {
                OURS: lambda images=on_device: deployed(images),
                "ONNX Runtime float, CPU": lambda images=images: float_(images),
                "ONNX Runtime int8, CPU": lambda images=images: int8(images),
            }
            case = f"{args.model}, {shape_name(batch, size)}"
            compare(case, contenders, args.rounds, batch=batch, size=size)


if __name__ == "__main__":
    run(main)
