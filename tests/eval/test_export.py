"""The command export.py, in process, on tiny networks."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.nn import functional as F

from command_line.cli import run
from conventions.preprocessing import Preprocessing
from datasets import build_dataset
from datasets.transforms import EvalTransform, normalize
from eval import export as command
from eval.deployment import agreement
from eval.deployment.deploy import OPSET, TRACED, Deployed, to_onnx
from eval.deployment.quantization import calibration_images
from eval.exported.network import OnnxNetwork
from models import build_model, load_checkpoint, save_checkpoint

TINY = {"embed_dims": (8, 16, 24, 32), "depths": (1, 1, 1, 1), "head_dim": 16}
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
# Odd sides, sides that no stride divides, both orientations; never the size of the trace.
SIZES = [(1, 64, 64), (1, 97, 131), (3, 33, 47), (2, 130, 32)]


@pytest.fixture
def export(monkeypatch, capsys):
    """Run the command and return what it printed."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["export.py", *map(str, arguments)])
        command.main()
        return capsys.readouterr().out

    return call


@pytest.fixture
def refuse(monkeypatch, capsys):
    """Run the command, which must stop with status 2 and one line; return the line."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["export.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            run(command.main)
        line = capsys.readouterr().err
        assert end.value.code == 2
        assert line.startswith("export.py: error: ") and line.count("\n") == 1, line
        return line

    return call


def open_file(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@torch.inference_mode()
def test_onnx_agrees_at_sizes_that_were_not_traced(export, write_checkpoint, tmp_path):
    state, model = write_checkpoint()
    printed = export("--state", state, "--format", "onnx")
    target = tmp_path / "best.onnx"
    assert f"opset {OPSET}" in printed and "batch, 3, height, width" in printed
    assert printed.count("against PyTorch") == 3 and str(target) in printed
    graph, session = onnx.load(target), open_file(target)
    assert [entry.version for entry in graph.opset_import if entry.domain == ""] == [OPSET]
    facts = {entry.key: json.loads(entry.value) for entry in graph.metadata_props}
    assert facts["classes"] == ["soil", "crop", "weed"] and facts["mean"] == MEAN
    # the head's three coarser maps are resized by what the runtime has for it
    assert [node.op_type for node in graph.graph.node].count("Resize") == 3
    for batch, *size in SIZES:
        images = torch.randn(batch, 3, *size)
        assert tuple(images.shape) != TRACED
        (logits,) = session.run(None, {"image": images.numpy()})
        np.testing.assert_allclose(logits, model(images).numpy(), atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
def test_preprocessing_and_argmax_inside(export, write_checkpoint, tmp_path, kind):
    state, model = write_checkpoint()
    target = tmp_path / "new" / "graph"
    inside = ["--with-preprocessing", "--with-argmax"]
    export("--state", state, "--format", kind, "--output", target, *inside)
    for batch, *size in SIZES:
        images = torch.randint(0, 256, (batch, 3, *size), dtype=torch.uint8)
        if kind == "onnx":
            logits, labels = open_file(target).run(None, {"image": images.numpy()})
        else:
            logits, labels = (part.numpy() for part in torch.jit.load(target)(images))
        expected = model(normalize(images, Preprocessing(tuple(MEAN), tuple(STD))))
        np.testing.assert_allclose(logits, expected.numpy(), atol=1e-4)
        upsampled = F.interpolate(expected, size=size, mode="bilinear", align_corners=False)
        assert labels.dtype == np.uint8 and labels.shape == (batch, *size)
        assert (labels == upsampled.argmax(1).numpy()).mean() > 0.999


def test_an_image_size_of_native_is_said(export, write_checkpoint, tmp_path):
    """No size at all would leave a robot to guess."""
    own = {"mean": MEAN, "std": STD, "protocol": "standard"}
    for size in (None, 480, [480, 640]):
        state, _ = write_checkpoint(preprocessing=own | {"image_size": size})
        export("--state", state, "--format", "onnx")
        facts = {e.key: e.value for e in onnx.load(tmp_path / "best.onnx").metadata_props}
        assert json.loads(facts["image_size"]) == ("native" if size is None else size)


def test_int8_says_the_size_it_was_calibrated_at(export, write_checkpoint, voc_root, tmp_path):
    (voc_root / "ImageSets" / "Segmentation" / "train.txt").write_text("field1\nfield3\n")
    state, _ = write_checkpoint()
    data = ["--datadir", voc_root, "--num-workers", "0", "--image-size", "native"]
    export("--state", state, "--format", "int8", *data)
    facts = {e.key: e.value for e in onnx.load(tmp_path / "best.int8.onnx").metadata_props}
    assert json.loads(facts["image_size"]) == "native"


def test_without_a_folder_int8_calibrates_on_drawn_fields():
    dataset = build_dataset("Synthetic", None, "val", transform=EvalTransform(64))
    subject = SimpleNamespace(dataset=dataset, preprocessing=Preprocessing())
    assert [tuple(image.shape) for image in calibration_images(subject, 2)] == [(1, 3, 64, 64)] * 2


def test_exporting_leaves_a_network_in_its_mode(tiny_model):
    deployed = Deployed(tiny_model, Preprocessing())
    to_onnx(deployed)
    assert not any(module.training for module in deployed.modules())


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
def test_pvt_agrees_at_sizes_that_were_not_traced(export, tmp_path, kind):
    model = build_model("PVTv2B0", 3, **TINY | {"depths": (1, 2, 1, 1), "head_width": 8}).eval()
    save_checkpoint(tmp_path / "pvt.pth", model, {})
    target = tmp_path / "graph"
    export("--state", tmp_path / "pvt.pth", "--format", kind, "--output", target)
    for batch, *size in SIZES:
        images = torch.randn(batch, 3, *size)
        if kind == "onnx":
            (logits,) = open_file(target).run(None, {"image": images.numpy()})
        else:
            (logits,) = (part.numpy() for part in torch.jit.load(target)(images))
        np.testing.assert_allclose(logits, model(images).numpy(), atol=1e-4)


def test_pvt_has_no_hugging_face_folder(refuse, tmp_path):
    save_checkpoint(tmp_path / "pvt.pth", build_model("PVTv2B0", 3, **TINY), {})
    assert "only SegFormer" in refuse("--state", tmp_path / "pvt.pth", "--format", "huggingface")


@torch.inference_mode()
def test_huggingface(export, write_checkpoint, tmp_path):
    state, model = write_checkpoint()
    printed = export("--state", state, "--format", "huggingface")
    assert printed.count("against PyTorch") == 3
    again, info = load_checkpoint(tmp_path / "best-huggingface")
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(again(images), model(images), atol=1e-5, rtol=0)
    assert info["classes"] == ["soil", "crop", "weed"]


@pytest.mark.parametrize("inside", [[], ["--with-preprocessing", "--with-argmax"]])
def test_int8(export, write_checkpoint, voc_root, tmp_path, inside):
    lists = voc_root / "ImageSets" / "Segmentation"
    (lists / "train.txt").write_text("field1\nfield3\n")
    state, model = write_checkpoint()
    arguments = ["--datadir", voc_root, "--num-workers", "0", "--calibration-images", "2"]
    printed = export("--state", state, "--format", "int8", *arguments, *inside)
    assert "calibrated on 2 images" in printed and "points lost" in printed
    target = tmp_path / "best.int8.onnx"
    graph = onnx.load(target)
    kinds = [node.op_type for node in graph.graph.node]
    assert kinds.count("QuantizeLinear") > 20
    # Every convolution reads int8 weights.
    produced = {node.output[0]: node.op_type for node in graph.graph.node}
    convolutions = [node for node in graph.graph.node if node.op_type == "Conv"]
    assert convolutions
    assert all(produced[node.input[1]] == "DequantizeLinear" for node in convolutions)
    network = OnnxNetwork(target)
    assert network.takes_bytes == bool(inside)
    images = torch.randint(0, 256, (2, 3, 65, 50), dtype=torch.uint8)
    normalized = normalize(images, Preprocessing(tuple(MEAN), tuple(STD)))
    with torch.inference_mode():
        expected = model(normalized)
    found = network(images.float() if inside else normalized)
    assert (found - expected).abs().mean() < 0.1 * expected.abs().mean()


def test_what_cannot_be_exported_is_refused(refuse, write_checkpoint, tmp_path):
    state, _ = write_checkpoint()
    base = ["--state", state, "--format"]
    assert "no such file" in refuse("--state", tmp_path / "gone.pth", "--format", "onnx")
    assert "--format" in refuse("--state", state)
    assert "--datadir belongs to --format int8, openvino-int8:" in refuse(
        *base, "onnx", "--datadir", tmp_path
    )
    assert "--with-argmax" in refuse(*base, "huggingface", "--with-argmax")
    assert "only --format openvino" in refuse(*base, "onnx", "--output", tmp_path / "b0.xml")
    assert "is a folder" in refuse(*base, "onnx", "--output", tmp_path)
    (tmp_path / "file").touch()
    assert "is a file" in refuse(*base, "huggingface", "--output", tmp_path / "file")
    assert "is the checkpoint" in refuse(*base, "torchscript", "--output", state)
    for kind in ("onnx", "huggingface"):  # before the network is loaded
        line = refuse(*base, kind, "--model", "Moon", "--output", tmp_path / "file" / "x")
        assert "--output" in line and "cannot be written (" in line
    assert "--datadir is needed" in refuse(*base, "int8")
    assert "SegformerB0" in refuse(*base, "onnx", "--model", "SegformerB2")


@pytest.mark.parametrize("kind", ["onnx", "torchscript", "huggingface"])
def test_an_export_that_disagrees_is_not_kept(
    refuse, write_checkpoint, monkeypatch, tmp_path, kind
):
    state, _ = write_checkpoint()
    monkeypatch.setattr(agreement, "TOLERANCE", -1.0)
    target = tmp_path / "out" / "export"
    line = refuse("--state", state, "--format", kind, "--output", target)
    assert "nothing was written" in line
    assert not target.exists() and not [*tmp_path.glob("out/.*")]
