"""Damaged files at the doors of the project: each is read, or refused in one line."""

import io
import json
import os
import random
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from rich.console import Console

from conventions.preprocessing import Preprocessing
from datasets.reading import read_image, read_indices
from eval.reporting.run_records import read_log, read_record, training_command
from models import load_checkpoint, weights
from models.weights import save_huggingface
from tests.soak.mutations import damaged, damaged_bytes, damaged_text
from train.arguments import parse_options

Door = Callable[[random.Random], None]


def doors(folder: Path, checkpoint: Path) -> dict[str, Door]:
    """What takes a random generator, and reads a file that is damaged by it."""
    content = torch.load(checkpoint, weights_only=True)
    network, info = load_checkpoint(checkpoint)
    save_huggingface(network, folder / "hub", info["classes"], info)
    arguments = (checkpoint.parent / "args.yaml").read_text()
    log = (checkpoint.parent / "log.csv").read_text()
    pictures = _pictures()
    named = {name: (folder / "hub" / name).read_text() for name in ("config.json", "sekd.json")}

    def checkpoints(draw: random.Random) -> None:
        path = folder / "damaged.pth"
        torch.save(damaged(content, draw), path)
        _use(path)

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
        _use(folder / "hub")

    def images(draw: random.Random) -> None:
        suffix, data = draw.choice(pictures)
        path = folder / f"damaged{suffix}"
        path.write_bytes(damaged_bytes(data, draw))
        draw.choice((read_image, read_indices))(path)

    def recipes(draw: random.Random) -> None:
        path = folder / "recipe.yaml"
        path.write_text(_spoilt(arguments, draw))
        parse_options("student", ["--config", str(path)], model="SegformerB0")

    def records(draw: random.Random) -> None:
        (folder / "args.yaml").write_text(_spoilt(arguments, draw))
        (folder / "log.csv").write_text(log)
        training_command(read_record(str(folder), {}).flags)

    def logs(draw: random.Random) -> None:
        (folder / "log.csv").write_text(damaged_text(log, draw))
        read_log(folder / "log.csv")

    return {
        "checkpoints": checkpoints,
        "bytes of checkpoints": weight_bytes,
        "Hugging Face folders": hub_folders,
        "images": images,
        "recipes": recipes,
        "args.yaml": records,
        "log.csv": logs,
    }


def inputs(folder: Path, checkpoint: Path, count: int, seed: int) -> tuple[Counter, list[str]]:
    """Try `count` damaged files; counts, and where raw errors came from."""
    counts: Counter[str] = Counter()
    raw: list[str] = []
    known = doors(folder, checkpoint)
    for number in range(count):
        name = list(known)[number % len(known)]
        try:
            known[name](random.Random(f"{seed} {number}"))
            counts["read"] += 1
        except (ValueError, OSError) as error:
            counts["refused in one line"] += 1
            if not str(error):
                raw.append(f"{name} {number}: refused without a word")
        except SystemExit as ended:
            counts["refused in one line"] += ended.code == 2
        except Exception as error:
            counts["raw errors"] += 1
            *_, place = traceback.extract_tb(error.__traceback__)
            raw.append(f"{name} {number}: {error!r} at {place.filename}:{place.lineno}")
    counts["inputs"] = count
    return counts, raw


def _use(path: Path) -> None:
    _, info = load_checkpoint(path, resume=True)
    Preprocessing.read(info["preprocessing"])
    training_command(info["args"])
    with open(os.devnull, "w") as nowhere:
        weights.show(str(path), Console(file=nowhere))


def _spoilt(text: str, draw: random.Random) -> str:
    if draw.random() < 0.5:
        return damaged_text(text, draw)
    content = damaged(yaml.safe_load(text), draw)
    return yaml.dump(json.loads(json.dumps(content, default=str, skipkeys=True)))


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
