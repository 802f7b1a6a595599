"""Exported files in the place of a checkpoint: what eval.py and predict.py make of them."""

import json
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image

from command_line.cli import run
from conventions.preprocessing import Preprocessing
from eval import compare, export, predict, report
from eval import eval as scoring
from eval.deployment import latency
from eval.deployment.deploy import Deployed, to_onnx
from eval.exported import openvino_ir, tensorrt_engine

INSIDE = ["--with-preprocessing", "--with-argmax"]


@pytest.fixture
def call(monkeypatch, capsys):
    """`call(command, *words)` runs a command and returns what it printed."""

    def call(command, *words):
        monkeypatch.setattr(sys, "argv", [f"{command.__name__}.py", *map(str, words)])
        command.main()
        return capsys.readouterr().out

    return call


@pytest.fixture
def refuse(monkeypatch, capsys):
    """`refuse(command, *words)`: the one line that the command ends with, and status 2."""

    def refuse(command, *words):
        monkeypatch.setattr(sys, "argv", [f"{command.__name__}.py", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            run(command.main)
        line = capsys.readouterr().err
        assert end.value.code == 2 and line.count("\n") == 1, line
        return line

    return refuse


@pytest.fixture
def scores(call, voc_root, tmp_path):
    """`scores(state, *words)`: what eval.py writes of a file on the four images."""

    def scores(state, *words):
        target = tmp_path / "scores.json"
        data = ["--dataset", "VOC", "--datadir", voc_root, "--num-workers", "0", "--cpu"]
        call(scoring, "--state", state, *data, "--json", target, *words)
        return json.loads(target.read_text())

    return scores


def same_scores(found, expected):
    assert found["miou"] == pytest.approx(expected["miou"], abs=1e-3)
    assert found["per_class"] == pytest.approx(expected["per_class"], abs=1e-3)
    for key in ("params", "image_size", "protocol", "images", "model", "dataset"):
        assert found[key] == expected[key], key


def test_an_exported_file_stands_beside_its_checkpoint(
    call, write_checkpoint, voc_root, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    state, _ = write_checkpoint()
    call(export, "--state", state, "--format", "onnx")
    data = ["--dataset", "VOC", "--datadir", voc_root, "--num-workers", "0", "--cpu"]
    both = [state, tmp_path / "best.onnx"]
    printed = call(compare, *both, *data, "--output", "comparison")
    (costs,) = [line for line in printed.splitlines() if "G MACs" in line]
    assert [cell.strip() for cell in costs.split("│")][3] == "-"
    call(report, *both, *data, "--output", "report.html")
    assert "<td>-</td>" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("inside", [[], INSIDE])
@pytest.mark.parametrize("size", [64, None])
def test_onnx_scores_as_its_checkpoint(call, scores, write_checkpoint, tmp_path, inside, size):
    own = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.1], "protocol": "standard"}
    state, _ = write_checkpoint(preprocessing=own | {"image_size": size})
    call(export, "--state", state, "--format", "onnx", *inside)
    expected, found = scores(state), scores(tmp_path / "best.onnx")
    same_scores(found, expected)
    assert found["runtime"] == "ONNX Runtime" and "runtime" not in expected
    assert scores(tmp_path / "best.onnx", "--tta", "1")["miou"] != found["miou"]


@pytest.mark.parametrize("inside", [[], INSIDE])
def test_openvino_scores_as_its_checkpoint(call, scores, write_checkpoint, tmp_path, inside):
    pytest.importorskip("openvino")
    state, _ = write_checkpoint()
    printed = call(export, "--state", state, "--format", "openvino", *inside)
    assert printed.count("OpenVINO float32 against PyTorch") == 3
    target = tmp_path / "best.xml"
    assert target.is_file() and target.with_suffix(".bin").is_file()
    assert not [*tmp_path.glob(".openvino*")]
    found = scores(target, "--precision", "float32")
    same_scores(found, scores(state))
    assert found["runtime"] == "OpenVINO float32"
    assert abs(scores(target)["miou"] - found["miou"]) < 0.02  # in the processor's own type


@torch.inference_mode()
def test_openvino_is_compiled_for_each_shape(write_checkpoint):
    pytest.importorskip("openvino")
    _, model = write_checkpoint()
    graph = to_onnx(Deployed(model, Preprocessing()))
    network = openvino_ir.OpenVinoNetwork(openvino_ir.to_openvino(graph), "float32")
    for shape in ((1, 3, 64, 64), (2, 3, 33, 97), (1, 3, 64, 64)):
        images = torch.randn(shape)
        torch.testing.assert_close(network(images), model(images), atol=1e-4, rtol=0)
        assert network.compile_for(images.shape).outputs[0].partial_shape.is_static
    assert network.compile_for.cache_info().misses == 2


def test_int8_openvino_says_what_it_costs(call, scores, voc_root, write_checkpoint, tmp_path):
    pytest.importorskip("openvino")
    (voc_root / "ImageSets" / "Segmentation" / "train.txt").write_text("field1\nfield3\n")
    state, _ = write_checkpoint()
    words = ["--format", "openvino-int8", "--datadir", voc_root, "--num-workers", "0", *INSIDE]
    printed = call(export, "--state", state, *words)
    assert "calibrated on 2 images" in printed and "points lost" in printed
    target = tmp_path / "best.int8.xml"
    said = float(printed.split("int8 ")[-1].split(" %")[0])
    assert 100 * scores(target)["miou"] == pytest.approx(said, abs=0.01)
    call(export, "--state", state, "--format", "openvino")
    assert target.with_suffix(".bin").stat().st_size < 0.6 * (tmp_path / "best.bin").stat().st_size


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_predictions_are_those_of_the_checkpoint(call, write_checkpoint, tmp_path, kind):
    precision = []
    if kind == "openvino":
        pytest.importorskip("openvino")
        precision = ["--precision", "float32"]
    state, _ = write_checkpoint()
    call(export, "--state", state, "--format", kind, *INSIDE)
    photograph = np.random.default_rng(1).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    Image.fromarray(photograph).save(tmp_path / "field.png")
    target = tmp_path / ("best.onnx" if kind == "onnx" else "best.xml")
    labels = []
    for name, words in (("first", [state]), ("second", [target, *precision])):
        out = tmp_path / name
        call(
            predict, "--input", tmp_path / "field.png", "--output", out, "--cpu", "--state", *words
        )
        labels.append(np.asarray(Image.open(out / "labels" / "field.png")))
        assert "soil" in (out / "cover.csv").read_text()  # classes are in the file
    assert labels[0].shape == (70, 90) and (labels[0] == labels[1]).mean() > 0.999


def test_latency_of_the_file_itself(call, scores, write_checkpoint, monkeypatch, tmp_path):
    monkeypatch.setattr(latency, "FEWEST", 2)
    monkeypatch.setattr(latency, "SECONDS", 0)
    state, _ = write_checkpoint()
    call(export, "--state", state, "--format", "onnx", *INSIDE)
    found = scores(tmp_path / "best.onnx", "--latency", "64")["latency"]["measured"]
    assert [row["runtime"] for row in found] == ["ONNX Runtime"]
    assert found[0]["milliseconds"] > 0 and found[0]["labels_equal"] == 1


def test_openvino_is_timed_beside_the_others(scores, voc_root, write_checkpoint, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr(latency, "FEWEST", 2)
    monkeypatch.setattr(latency, "SECONDS", 0)
    (voc_root / "ImageSets" / "Segmentation" / "train.txt").write_text("field1\nfield3\n")
    state, _ = write_checkpoint()
    rows = {r["runtime"]: r for r in scores(state, "--latency", "64")["latency"]["measured"]}
    assert {"OpenVINO float32", "OpenVINO int8"} <= set(rows)
    assert rows["OpenVINO float32"]["labels_equal"] > 0.99


def test_what_is_no_export_of_ours(refuse, write_checkpoint, call, voc_root, tmp_path):
    def refused(state, *words):
        return refuse(scoring, "--state", state, "--datadir", voc_root, "--cpu", *words)

    assert "no such file" in refused(tmp_path / "gone.onnx")
    (tmp_path / "text.onnx").write_text("nothing")
    assert "ONNX Runtime cannot read it" in refused(tmp_path / "text.onnx")
    state, _ = write_checkpoint()
    assert "--precision" in refused(state, "--precision", "float32")
    call(export, "--state", state, "--format", "onnx")
    graph = tmp_path / "best.onnx"
    assert "leave it out" in refused(graph, "--model", "SegformerB0")
    assert "--datadir is needed" in refuse(scoring, "--state", graph, "--cpu")
    import onnx

    bare = onnx.load(graph)
    del bare.metadata_props[:]
    onnx.save(bare, tmp_path / "bare.onnx")
    assert "eval/export.py" in refused(tmp_path / "bare.onnx")


def test_half_an_openvino_file(refuse, call, write_checkpoint, voc_root, tmp_path):
    pytest.importorskip("openvino")
    state, _ = write_checkpoint()
    line = refuse(export, "--state", state, "--format", "openvino", "--output", tmp_path / "x.onnx")
    assert "is called .xml" in line
    call(export, "--state", state, "--format", "openvino")
    words = ["--state", tmp_path / "best.xml", "--datadir", voc_root, "--cpu"]
    (tmp_path / "best.xml").write_text("<net>")
    assert "OpenVINO cannot read it" in refuse(scoring, *words)
    (tmp_path / "best.bin").unlink()
    assert "best.bin" in refuse(scoring, *words)


@pytest.mark.parametrize(("kind", "package"), [("openvino", "openvino"), ("tensorrt", "tensorrt")])
def test_a_runtime_that_is_not_installed(
    refuse, write_checkpoint, monkeypatch, tmp_path, voc_root, kind, package
):
    monkeypatch.setitem(sys.modules, package, None)
    state, _ = write_checkpoint()
    line = refuse(export, "--state", state, "--format", kind)
    assert f"{package} is not installed here: pip install" in line
    graph = tmp_path / {"openvino": "best.xml", "tensorrt": "best.engine"}[kind]
    graph.write_bytes(b"x")
    words = ["--state", graph, "--datadir", voc_root, "--cpu"]
    assert "pip install" in refuse(scoring, *words)


class Standin:
    """As much of TensorRT's Python interface as we call; "engines" are ONNX graphs, run on the CPU.

    It shows that the calls fit together, not that TensorRT does what we think.
    """

    def __init__(self):
        self.seen = {}
        seen = self.seen

        class Parser:
            def __init__(self, network, logger):
                self.network = network

            def parse(self, graph):
                self.network.append(graph)
                return True

        profile = types.SimpleNamespace(set_shape=lambda *shapes: seen.update(profile=shapes))
        config = types.SimpleNamespace(
            clear_flag=lambda flag: seen.update(cleared=flag),
            add_optimization_profile=lambda added: seen.update(added=added is profile),
        )
        self.module = types.ModuleType("tensorrt")
        builder = types.SimpleNamespace(
            create_network=lambda flags: [],
            create_builder_config=lambda: config,
            create_optimization_profile=lambda: profile,
            build_serialized_network=lambda network, config: memoryview(network[0]),
        )
        logger = type("Logger", (), {"ERROR": 1, "__init__": lambda self, level: None})
        self.module.__dict__.update(
            __version__="10.0", Logger=logger, OnnxParser=Parser,
            Builder=lambda logger: builder, BuilderFlag=types.SimpleNamespace(TF32="tf32"),
        )  # fmt: skip


def test_an_engine_is_built_for_the_size_of_the_checkpoint(write_checkpoint, monkeypatch, tmp_path):
    standin = Standin()
    monkeypatch.setitem(sys.modules, "tensorrt", standin.module)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    import onnx

    from eval.deployment.deploy import Deployed, to_onnx

    state, model = write_checkpoint()
    graph = to_onnx(Deployed(model, Preprocessing()))
    engine = tensorrt_engine.build_engine(graph, (48, 64))
    assert onnx.load_from_string(engine) == graph
    name, smallest, tuned, largest = standin.seen["profile"]
    assert name == "image" and standin.seen["added"] and standin.seen["cleared"] == "tf32"
    assert smallest == (1, 3, 32, 32) and tuned == (1, 3, 48, 64) and largest == (4, 3, 96, 128)
    facts = {"classes": '["a", "b"]', "image_size": '"native"'}
    tensorrt_engine.save_engine(engine, facts, tmp_path / "best.engine")
    assert (tmp_path / "best.engine").read_bytes() == engine
    assert json.loads((tmp_path / "best.engine.json").read_text())["classes"] == ["a", "b"]
    assert tensorrt_engine.read_facts(tmp_path / "best.engine") == facts
    (tmp_path / "best.engine.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"best\.engine\.json"):
        tensorrt_engine.read_facts(tmp_path / "best.engine")


def test_no_gpu_no_engine(refuse, write_checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", Standin().module)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    state, _ = write_checkpoint()
    assert "GPU" in refuse(export, "--state", state, "--format", "tensorrt")
