"""The flags of a pipeline, stored in its folder."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from command_line.documents import read_yaml
from command_line.outputs import replacing
from train.options.distillation import REST
from train.plan.estimate import FILE as ESTIMATE
from train.plan.presets import default_preset

FILE, CHECK, RECIPE = "pipeline.yaml", "check.txt", "recipe.yaml"


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

    Until a run of the stored one has weights, any flags make a new request: the first start may
    have failed because of a wrong flag.

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
    if begun is None or (words and not has_weights(folder)):
        return Request(**{"preset": default_preset(), **words})
    for name, value in words.items():
        if value != getattr(begun, name):
            raise ValueError(
                f"--{name.replace('_', '-')} {value}: {folder} was begun with "
                f"{getattr(begun, name)}; leave the flag out to go on, or name another --output"
            )
    return begun


def remember(request: Request, folder: Path) -> None:
    """Write a request to the folder of its pipeline; what was made for another one is removed.

    Raises:
        ValueError: runs of another one have weights, since `settle` looked.
    """
    if (folder / FILE).exists() and _read(folder) != request:
        if has_weights(folder):
            raise ValueError(
                f"--output {folder}: another command has begun a pipeline with other flags there; "
                "name another --output"
            )
        for name in (CHECK, RECIPE, ESTIMATE):
            (folder / name).unlink(missing_ok=True)
    with replacing(folder / FILE) as temporary:
        temporary.write_text(yaml.safe_dump(asdict(request), sort_keys=False), encoding="utf-8")


def has_weights(folder: Path) -> bool:
    """Return whether a run of a pipeline has saved weights."""
    return any(folder.glob("*/*.pth"))


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
