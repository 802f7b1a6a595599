"""Our own checkpoints, what is refused, where weights are looked for, and the command line."""

import gc
import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from command_line import cli
from models import build_model, files, load_checkpoint, save_checkpoint
from models.files import resolve
from models.loading import load_backbone

ROOT = Path(__file__).parents[2]
CLASSES = ["soil", "crop", "weed"]


@pytest.fixture
def published(golden, fill_golden, tmp_path):
    """The published B0 student, as a bare file."""
    path = tmp_path / "student.pth"
    torch.save(fill_golden(golden("sekd")["models"]["segformer_b0_3cls"]["state_dict"]), path)
    return path


def test_round_trip(tiny_model, tmp_path):
    path = tmp_path / "run" / "best.pth"
    info = {
        "classes": CLASSES,
        "palette": [[0, 0, 0], [0, 255, 0], [255, 0, 0]],
        "dataset": "CWFID",
        "method": "sekd-ct",
        "args": {"datadir": Path("data"), "lr": np.float64(1e-4), "size": [64, 96], "cuda": False},
        "seed": 3,
        "metrics": {"miou": 0.5, "per_class": [0.5, None]},
    }
    adapters = {"fef.0.weight": torch.ones(2)}
    training = {"optimizer": {"state": {0: {"step": torch.tensor(1.0)}}}, "epoch": 4}

    save_checkpoint(path, tiny_model, info, adapters=adapters, training=training)
    model, loaded = load_checkpoint(path, resume=True)

    assert not model.training
    assert model.overrides == tiny_model.overrides
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(model(images), tiny_model(images))
    for key in ("classes", "palette", "dataset", "method", "seed", "metrics"):
        assert loaded[key] == info[key]
    assert loaded["args"] == {"datadir": "data", "lr": 1e-4, "size": [64, 96], "cuda": False}
    assert type(loaded["args"]["lr"]) is float
    assert loaded["format"] == "sekd"
    assert loaded["ignore_index"] == 255
    assert loaded["preprocessing"]["mean"] == [0.485, 0.456, 0.406]
    assert loaded["preprocessing"]["protocol"] == "standard"
    assert loaded["versions"]["torch"] == torch.__version__.split("+")[0]
    assert torch.equal(loaded["adapters"]["fef.0.weight"], torch.ones(2))
    assert loaded["training"]["epoch"] == 4
    assert "model" not in loaded
    assert [file.name for file in path.parent.iterdir()] == ["best.pth"]
    raw = torch.load(path, weights_only=True)
    assert (raw["format"], raw["format_version"], raw["architecture"]) == ("sekd", 1, "SegformerB0")


def test_a_checkpoint_that_is_scored_keeps_no_optimizer_state_alive(tiny_model, tmp_path):
    shape = (3, 5, 7, 11)  # of nothing else in this process
    training = {"optimizer": {"state": {0: {"exp_avg": torch.zeros(shape)}}}}
    save_checkpoint(tmp_path / "last.pth", tiny_model, {}, training=training)
    del training

    def moments() -> int:
        gc.collect()
        return sum(type(o) is torch.Tensor and o.shape == shape for o in gc.get_objects())

    _, info = load_checkpoint(tmp_path / "last.pth")
    assert info["training"] is None and moments() == 0
    _, info = load_checkpoint(tmp_path / "last.pth", resume=True)
    assert info["training"] is not None and moments() == 1


@pytest.mark.parametrize("name", ["SegformerB1", "PVTv2B0", "PVTv2B2"])
def test_round_trip_of_other_networks(name, tmp_path):
    model = build_model(
        name, 2, embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), head_dim=16
    ).eval()
    save_checkpoint(tmp_path / "a.pth", model, {})
    again, info = load_checkpoint(tmp_path / "a.pth")
    images = torch.rand(1, 3, 32, 64)
    with torch.no_grad():
        assert torch.equal(again(images), model(images))
    assert info["architecture"] == again.name == name


def test_failed_save_leaves_the_old_file(tiny_model, tmp_path, monkeypatch):
    path = tmp_path / "last.pth"
    save_checkpoint(path, tiny_model, {"seed": 1})

    def interrupted(content, file):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(path, tiny_model, {"seed": 2})

    assert [file.name for file in tmp_path.iterdir()] == ["last.pth"]
    assert load_checkpoint(path)[1]["seed"] == 1


def test_what_is_not_saved(tiny_model, tmp_path):
    with pytest.raises(ValueError, match="2 class names for a model of 3 classes"):
        save_checkpoint(tmp_path / "a.pth", tiny_model, {"classes": ["soil", "crop"]})
    with pytest.raises(TypeError, match=r"checkpoint\['args'\]\['x'\] is a object"):
        save_checkpoint(tmp_path / "a.pth", tiny_model, {"args": {"x": object()}})
    assert not list(tmp_path.iterdir())


def test_another_architecture(published):
    with pytest.raises(ValueError, match="holds SegformerB0, not SegformerB3: pass --model"):
        load_checkpoint(published, model="SegformerB3")
    with pytest.raises(ValueError, match="unknown model 'SegformerB9'; known models: SegformerB0"):
        load_checkpoint(published, model="SegformerB9")
    with pytest.raises(ValueError, match="holds SegformerB0, not SegformerB1: pass"):
        load_backbone(build_model("SegformerB1", 3), published)


def test_another_class_count(published):
    with pytest.raises(ValueError, match="classifier knows 3 classes, not 8"):
        load_checkpoint(published, num_classes=8)

    original, _ = load_checkpoint(published)
    model, _ = load_checkpoint(published, num_classes=8, replace_classifier=True)

    assert model.num_classes == 8
    expected = original.state_dict()
    for key, value in model.state_dict().items():
        if not key.startswith("head.linear_pred."):
            assert torch.equal(value, expected[key]), key


def test_keys_are_compared_strictly(published, tmp_path):
    state = torch.load(published, weights_only=True)
    del state["norm1.weight"], state["linear_c1.proj.bias"]
    state["surplus.weight"] = torch.zeros(1)
    state["norm2.weight"] = torch.zeros(7)
    torch.save(state, tmp_path / "broken.pth")

    with pytest.raises(ValueError) as error:
        load_checkpoint(tmp_path / "broken.pth")

    message = str(error.value)
    assert "\n" not in message
    assert "broken.pth: does not fit SegformerB0" in message
    assert "2 missing: encoder.norm1.weight, head.linear_c1.proj.bias" in message
    assert "1 unexpected: encoder.surplus.weight" in message
    assert "1 of another shape: encoder.norm2.weight (7,) for (64,)" in message


def test_long_lists_of_keys_are_shortened(published, tmp_path):
    state = torch.load(published, weights_only=True)
    state = {key: value for key, value in state.items() if ".attn.proj." not in key}
    torch.save(state, tmp_path / "broken.pth")
    with pytest.raises(ValueError, match=r"16 missing: .* and 12 more$") as error:
        load_backbone(build_model("SegformerB0", 3), tmp_path / "broken.pth")
    assert len(str(error.value)) < 500


def test_files_that_are_no_weights(published, tmp_path):
    whole = published.read_bytes()
    contents = {
        "start.pth": whole[:5000],
        "half.pth": whole[: len(whole) // 2],
        "all_but_the_end.pth": whole[:-10],
        "empty.pth": b"",
        "page.pth": b"<html>404</html>",
        "broken.safetensors": b"\x10",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}: not a weight file, or a truncated one"):
            load_checkpoint(tmp_path / name)
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"no layout that is known here \(its tensors: fc.weight"):
        load_checkpoint(tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="holds a list, not a state dict"):
        load_checkpoint(tmp_path / "list.pth")


def test_exported_files_are_not_called_truncated(tmp_path):
    torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)), tmp_path / "a.pt")
    (tmp_path / "a.onnx").write_bytes(b"\x08\x08")
    for name in ("a.pt", "a.onnx"):
        with pytest.raises(ValueError, match=f"{name}: is an exported file: name the checkpoint"):
            load_checkpoint(tmp_path / name)


@pytest.mark.parametrize("zipped", [True, False])
def test_refused_pickle_says_how_to_convert(zipped, published, tmp_path):
    state = torch.load(published, weights_only=True)
    path = tmp_path / "refused.pth"
    content = {"state_dict": state, "best_acc": np.float64(0.5)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)

    with pytest.raises(ValueError, match="Python objects.*if you trust") as error:
        load_checkpoint(path)

    message = str(error.value)
    assert "\n" not in message
    command = message.split("python -c ")[1].strip('"')
    exec(command)  # noqa: S102 - the remedy must work as printed
    model, _ = load_checkpoint(tmp_path / "refused.weights.pth")
    assert torch.equal(model.encoder.norm1.weight, state["norm1.weight"])


def test_a_pickle_of_another_protocol_is_refused_in_one_line(tmp_path, recwarn):
    (tmp_path / "a.pth").write_bytes(pickle.dumps({"head.weight": 1}, protocol=4))
    with pytest.raises(ValueError, match="a.pth: not a weight file, or a truncated one"):
        load_checkpoint(tmp_path / "a.pth")
    assert not recwarn.list


def test_newer_checkpoint(tiny_model, tmp_path):
    save_checkpoint(tmp_path / "a.pth", tiny_model, {})
    content = torch.load(tmp_path / "a.pth", weights_only=True)
    torch.save(content | {"format_version": 99}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="written by a newer version"):
        load_checkpoint(tmp_path / "a.pth")


def test_unknown_widths(tmp_path, tiny_model):
    bare = {k.removeprefix("encoder."): v for k, v in tiny_model.state_dict().items()}
    torch.save({k.removeprefix("head."): v for k, v in bare.items()}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="widths 8/16/24/32 and depths 1/1/1/1 is none of"):
        load_checkpoint(tmp_path / "a.pth")


def test_resolve(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    with pytest.raises(FileNotFoundError, match="neither a Hugging Face folder"):
        resolve("run")
    Path("run/best.pth").touch()
    assert resolve("run") == resolve("run/best.pth") == Path("run/best.pth")
    Path("run/config.json").touch()
    assert resolve(Path("run")) == Path("run")
    for missing in ("none.pth", "ckpt/best.pth", "run/other", "/none/such", "a/b/c"):
        with pytest.raises(FileNotFoundError, match=f"{missing}: no such file or folder; name a"):
            resolve(missing)


def test_hub_id(tmp_path, monkeypatch):
    """The weights that an id has, whether safe tensors or, in older models, a pickled file."""
    asked = []

    def download(name, allow_patterns):
        asked.append((name, allow_patterns[-1]))
        if allow_patterns[-1] == "pytorch_model.bin":
            (tmp_path / "pytorch_model.bin").touch()
        return str(tmp_path)

    monkeypatch.setattr("models.files.snapshot_download", download)
    assert resolve("nvidia/mit-b0") == tmp_path
    assert asked == [
        ("nvidia/mit-b0", "model.safetensors"), ("nvidia/mit-b0", "pytorch_model.bin"),
    ]  # fmt: skip


def run(*args, **environment):
    command = [sys.executable, "models/weights.py", *map(str, args)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | environment, timeout=300
    )


def test_hub_id_offline(tmp_path):
    result = run("show", "nvidia/mit-b0", HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "nvidia/mit-b0: no such file or folder" in result.stderr
    assert "hf download nvidia/mit-b0 --local-dir DIR" in result.stderr


def call(monkeypatch, capsys, *args):
    """Run the command line in this process and return what it printed."""
    from models import weights

    monkeypatch.setattr(sys, "argv", ["weights.py", *map(str, args)])
    monkeypatch.setenv("COLUMNS", "200")
    weights.main()
    return capsys.readouterr().out


def test_show(published, tiny_model, tmp_path, monkeypatch, capsys):
    out = call(monkeypatch, capsys, "show", published)
    assert "SegformerB0" in out
    assert "3,714,915" in out  # as the reference counts them

    info = {"classes": CLASSES, "metrics": {"miou": 0.5}, "method": "sekd", "dataset": "CWFID"}
    adapters = {"a": torch.ones(4, 5)}
    save_checkpoint(tmp_path / "best.pth", tiny_model, info, adapters=adapters, training={})
    out = call(monkeypatch, capsys, "show", tmp_path)
    for part in ("3: soil, crop, weed", "miou=0.5", "sekd", "CWFID", "20 (0.00 M)", "torch="):
        assert part in out


def test_convert(published, tmp_path, monkeypatch, capsys):
    original = torch.load(published, weights_only=True)

    folder, ours = tmp_path / "folder", tmp_path / "ours.pth"
    call(monkeypatch, capsys, "convert", published, folder)
    call(monkeypatch, capsys, "convert", folder, ours)
    call(monkeypatch, capsys, "convert", ours, tmp_path / "back.pth", "--published")

    assert json.loads((folder / "config.json").read_text())["model_type"] == "segformer"
    assert torch.load(ours, weights_only=True)["format"] == "sekd"
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert back.keys() == original.keys()
    assert all(torch.equal(back[key], original[key]) for key in original)
    # Images of the published code are not normalised: the folders keep saying so.
    assert load_checkpoint(ours)[1]["preprocessing"]["std"] == [1, 1, 1]

    call(monkeypatch, capsys, "convert", published, tmp_path / "five.pth", "--num-classes", 5)
    assert load_checkpoint(tmp_path / "five.pth")[0].num_classes == 5


def test_another_class_count_leaves_the_old_classes_behind(
    tiny_model, tmp_path, monkeypatch, capsys
):
    classes = [f"class {index}" for index in range(tiny_model.num_classes)]
    save_checkpoint(tmp_path / "ours.pth", tiny_model, {"classes": classes})
    paths = tmp_path / "ours.pth", tmp_path / "five.pth"
    call(monkeypatch, capsys, "convert", *paths, "--num-classes", 5)
    model, info = load_checkpoint(tmp_path / "five.pth")
    assert model.num_classes == 5 and not info["classes"]


def test_the_same_class_count_keeps_what_is_known_of_the_classes(
    tiny_model, tmp_path, monkeypatch, capsys
):
    count = tiny_model.num_classes
    info = {"classes": [f"class {index}" for index in range(count)], "metrics": {"miou": 0.5}}
    save_checkpoint(tmp_path / "ours.pth", tiny_model, info)
    paths = tmp_path / "ours.pth", tmp_path / "same.pth"
    call(monkeypatch, capsys, "convert", *paths, "--num-classes", count)
    known = load_checkpoint(tmp_path / "same.pth")[1]
    assert (known["classes"], known["metrics"]) == (info["classes"], info["metrics"])


def test_a_bare_file_cannot_tell_its_normalisation(tiny_model, tmp_path, monkeypatch, capsys):
    save_checkpoint(tmp_path / "ours.pth", tiny_model, {})
    bare = tmp_path / "bare.pth"
    out = call(monkeypatch, capsys, "convert", tmp_path / "ours.pth", bare, "--published")
    assert "expects them normalised" in " ".join(out.split())


def test_an_unknown_command_makes_one_line(monkeypatch, capsys):
    with pytest.raises(SystemExit) as error:
        cli.run(lambda: call(monkeypatch, capsys, "look", "x.pth"))
    assert error.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith("weights.py: error: ") and "'look'" in printed
    assert printed.count("\n") == 1


def test_rounding_is_told(tiny_model, tmp_path, monkeypatch, capsys):
    save_checkpoint(tmp_path / "best.pth", tiny_model, {})
    for name, rounded in (("new.safetensors", True), ("new.pth", False)):
        told = call(monkeypatch, capsys, "convert", tmp_path / "best.pth", tmp_path / name)
        assert ("classes, rounded to 16 bits: " in told) == rounded


@pytest.mark.parametrize("command", [("convert",), ("grow", "--model", "SegformerB1")])
def test_what_is_read_is_not_replaced(command, tiny_model, tmp_path, monkeypatch, capsys):
    best, link = tmp_path / "best.pth", tmp_path / "link.pth"
    save_checkpoint(best, tiny_model, {})
    link.symlink_to(best)
    before = best.read_bytes()
    for source, target in ((best, best), (best, link), (tmp_path, best)):
        with pytest.raises(ValueError, match=f"^{target}: OUT is IN itself"):
            call(monkeypatch, capsys, *command, source, target)
    assert best.read_bytes() == before and link.is_symlink()


@pytest.mark.parametrize(
    ("out", "flags", "message"),
    [
        ("z.onnx", (), "eval/export.py --format onnx"),
        ("z.pth", ("--num-classes", 0), "--num-classes 0: at least 1"),
        ("z.png", (), "OUT is a .pth or .safetensors file, or a folder"),
        ("folder", ("--published",), "--published writes a SegFormer as one .pth file"),
        ("x.pth", ("--model", "SegformerB2"), "holds SegformerB0, not SegformerB2"),
    ],
)
def test_refused_conversions(out, flags, message, published, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as error:
        cli.run(lambda: call(monkeypatch, capsys, "convert", published, tmp_path / out, *flags))
    assert error.value.code == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / out).exists()


def test_the_digest_of_a_folder_is_that_of_its_weights(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    for name in ("pytorch_model.bin", "model.safetensors"):  # the second one is preferred
        (tmp_path / name).write_bytes(name.encode())
        expected = hashlib.sha256(name.encode()).hexdigest()
        assert files.digest(tmp_path) == files.digest(tmp_path / name) == expected
