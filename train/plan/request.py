"""The flags of a pipeline, stored in its folder."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from command_line.documents import read_yaml
from command_line.outputs import replacing
from train.options.distillation import REST
from train.plan.presets import default_preset

FILE = "pipeline.yaml"


@dataclass(frozen=True)
class Request:
    """The flags of a pipeline; preset and data determine those that are None."""

    preset: str
    dataset: str = "VOC"
    datadir: str | None = None
    classes: str | None = None
    model: str = "SegformerB0"
    teacher_model: str | None = None
    method: str = "sekd-ct"
    steps: int | None = None
    pretrained: bool | str = False
    device: str | None = None
    config: str | None = None
    unlabelled: str | None = None
    launcher: str | None = None


def settle(given: Mapping[str, Any], folder: Path) -> Request:
    """Return the request of a new pipeline, or the stored one of a pipeline that is continued.

    Args:
        given: values of flags by field name, None for those not given.
        folder: of the pipeline; it need not exist.

    Raises:
        ValueError: a flag differs from that of the pipeline to continue, or the folder contains
            something else.
    """
    words = {name: value for name, value in given.items() if value is not None}
    for name in ("datadir", "config", "unlabelled"):
        if name in words and (name, words[name]) != ("unlabelled", REST):
            words[name] = str(Path(words[name]).absolute())
    begun = _read(folder)
    if begun is None:
        return Request(**{"preset": default_preset(), **words})
    for name, value in words.items():
        if value != getattr(begun, name):
            raise ValueError(
                f"--{name.replace('_', '-')} {value}: {folder} was begun with "
                f"{getattr(begun, name)}; leave the flag out to go on, or name another --output"
            )
    return begun


def remember(request: Request, folder: Path) -> None:
    """Write a request to the folder of its pipeline."""
    with replacing(folder / FILE) as temporary:
        temporary.write_text(yaml.safe_dump(asdict(request), sort_keys=False), encoding="utf-8")


def _read(folder: Path) -> Request | None:
    path = folder / FILE
    if not path.exists():
        if folder.is_dir() and any(not each.name.startswith(".") for each in folder.iterdir()):
            raise ValueError(f"--output {folder}: holds something else; name a new folder")
        return None
    try:
        saved = read_yaml(path)
        known = [each.name for each in fields(Request) if each.name in saved]
        return Request(**{name: saved[name] for name in known})
    except (ValueError, TypeError, KeyError):
        raise ValueError(
            f"{path} is not that of a pipeline: remove it, or name another --output"
        ) from None
