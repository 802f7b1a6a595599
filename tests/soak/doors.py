"""Where files of others come in: functions that read them, and commands as a whole."""

import io
import json
import random
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import torch
import yaml
from accelerate.state import AcceleratorState
from PIL import Image

import datasets.prepare
import eval.eval
import eval.predict
import train.train_student
from command_line.cli import run
from conventions.preprocessing import Preprocessing
from datasets.reading import read_image, read_indices
from eval.reporting.run_records import read_log, read_record, training_command
from models import build_model, load_checkpoint, save_checkpoint, weights
from models.huggingface import save_huggingface
from tests.soak.commands import TRAINING
from tests.soak.mutations import damaged, damaged_bytes, damaged_text
from tests.train.conftest import TINY, write_voc
from train.arguments import parse_options

Door = Callable[[random.Random], None]
CLASSES = ("soil", "crop", "weed")


def doors(folder: Path, checkpoint: Path) -> dict[str, tuple[float, Door]]:
    """What takes a random generator and reads a file that is damaged by it; with their shares.

    Args:
        folder: where the files are written.
        checkpoint: last.pth of a run.
    """
    return readers(folder, checkpoint) | commands(folder)


def readers(folder: Path, checkpoint: Path) -> dict[str, tuple[float, Door]]:
    """Functions that read a file."""
    content = torch.load(checkpoint, weights_only=True)
    network, info = load_checkpoint(checkpoint)
    save_huggingface(network, folder / "hub", info["classes"], info)
    arguments = (checkpoint.parent / "args.yaml").read_text()
    flags = yaml.safe_load(arguments)
    log = (checkpoint.parent / "log.csv").read_text()
    pictures = _pictures()
    named = {name: (folder / "hub" / name).read_text() for name in ("config.json", "sekd.json")}

    def checkpoints(draw: random.Random) -> None:
        path = folder / "damaged.pth"
        torch.save(damaged(content, draw), path)
        _, info = load_checkpoint(path, resume=True)
        _use(info)

    def weight_bytes(draw: random.Random) -> None:
        path = folder / "damaged.pth"
        path.write_bytes(damaged_bytes(checkpoint.read_bytes(), draw))
        load_checkpoint(path)

    def hub_folders(draw: random.Random) -> None:
        name = draw.choice(list(named))
        for each, text in named.items():
            (folder / "hub" / each).write_text(text)
        (folder / "hub" / name).write_text(
            json.dumps(damaged(json.loads(named[name]), draw), default=str)
        )
        _, info = load_checkpoint(folder / "hub")
        _use(info)

    def images(draw: random.Random) -> None:
        suffix, data = draw.choice(pictures)
        path = folder / f"damaged{suffix}"
        path.write_bytes(damaged_bytes(data, draw))
        draw.choice((read_image, read_indices))(path)

    def recipes(draw: random.Random) -> None:
        path = folder / "recipe.yaml"
        path.write_text(_spoilt(arguments, flags, draw))
        parse_options("student", ["--config", str(path)])

    def records(draw: random.Random) -> None:
        (folder / "args.yaml").write_text(_spoilt(arguments, flags, draw))
        (folder / "log.csv").write_text(log)
        training_command(read_record(str(folder), {}).flags)

    def logs(draw: random.Random) -> None:
        (folder / "log.csv").write_text(damaged_text(log, draw))
        read_log(folder / "log.csv")

    return {
        "checkpoints": (4, checkpoints),
        "bytes of checkpoints": (6, weight_bytes),
        "Hugging Face folders": (4, hub_folders),
        "images": (45, images),
        "recipes": (7, recipes),
        "args.yaml": (7, records),
        "log.csv": (25, logs),
    }


def commands(folder: Path) -> dict[str, tuple[float, Door]]:
    """Commands as a whole: each ends with a status of 0 to 2, and with one line for an error."""
    data = write_voc(folder / "fields", train=2, val=1, size=(24, 32))
    whole = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    network = build_model("SegformerB0", len(CLASSES), **TINY)
    state = folder / "network.pth"
    save_checkpoint(state, network, {"classes": list(CLASSES)})
    content = torch.load(state, weights_only=True)
    scored = ["--dataset", "VOC", "--datadir", str(data), "--device", "cpu", "--num-workers", "0"]

    def damage_data(draw: random.Random) -> None:
        for path, found in whole.items():
            path.write_bytes(found)
        path = draw.choice(list(whole))
        path.write_bytes(damaged_bytes(whole[path], draw))

    def check(draw: random.Random) -> None:
        damage_data(draw)
        _command(
            datasets.prepare.main, "check", "--datadir", str(data), "--classes", ",".join(CLASSES)
        )

    def evaluate(draw: random.Random) -> None:
        damage_data(draw)
        _command(eval.eval.main, "--state", str(state), *scored)

    def show(draw: random.Random) -> None:
        path = folder / "strange.pth"
        torch.save(damaged(content, draw), path)
        _command(weights.main, "show", str(path))

    def predict(draw: random.Random) -> None:
        damage_data(draw)
        target = folder / "masks"
        words = ["--input", str(data / "JPEGImages"), "--output", str(target), "--overwrite"]
        _command(eval.predict.main, "--state", str(state), *words, "--device", "cpu")

    def learn(draw: random.Random) -> None:
        damage_data(draw)
        shutil.rmtree(folder / "runs", ignore_errors=True)
        AcceleratorState._reset_state(True)
        words = ["--datadir", str(data), "--savedir", str(folder / "runs"), "--max-steps", "1"]
        _command(train.train_student.main, *TRAINING, *words)

    return {
        "prepare.py check": (0.8, check),
        "eval.py": (0.4, evaluate),
        "weights.py show": (0.4, show),
        "predict.py": (0.3, predict),
        "train_student.py": (0.1, learn),
    }


def _command(main: Callable[[], int | None], *words: str) -> None:
    """Run a command in this process.

    Raises:
        SystemExit: the command has ended with a status other than 0.
    """
    sys.argv = [f"{main.__module__}.py", *words]
    told = io.StringIO()
    try:
        with redirect_stderr(told), redirect_stdout(io.StringIO()):
            run(main)
    except SystemExit as ended:
        assert ended.code != 2 or told.getvalue().count(": error: ") == 1, told.getvalue()
        assert "Traceback" not in told.getvalue(), told.getvalue()
        if ended.code:
            raise


def _use(info: dict) -> None:
    """What is done with a description that was accepted."""
    Preprocessing.read(info["preprocessing"])
    training_command(info["args"])


def _spoilt(text: str, content: dict, draw: random.Random) -> str:
    if draw.random() < 0.5:
        return damaged_text(text, draw)
    plain = json.loads(json.dumps(damaged(content, draw), default=str, skipkeys=True))
    return yaml.dump(plain, Dumper=yaml.CSafeDumper)


def _pictures() -> list[tuple[str, bytes]]:
    pixels = np.random.default_rng(0).integers(0, 3, (24, 32), np.uint8)
    label, photo = Image.fromarray(pixels), Image.fromarray(np.dstack([pixels * 80] * 3))
    found = []
    for image, kind, more in (
        (photo, "JPEG", {}),
        (photo.convert("CMYK"), "JPEG", {}),
        (photo, "PNG", {"save_all": True, "append_images": [photo.rotate(90)]}),
        (label, "PNG", {}),
        (label.convert("P"), "PNG", {}),
        (label.convert("1"), "PNG", {}),
        (photo, "TIFF", {}),
        (photo, "WEBP", {}),
        (photo, "BMP", {}),
    ):
        buffer = io.BytesIO()
        image.save(buffer, kind, **more)
        found.append((f".{kind.lower()}", buffer.getvalue()))
    return found
