"""Find weight files, and open them without running code from them."""

import hashlib
import re
import warnings
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import safetensors
import safetensors.torch
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from models.shipped import NAME, find_shipped, find_start, read_shipped

SUFFIXES = (".pth", ".pt", ".tar", ".bin", ".ckpt", ".safetensors")
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
DESCRIPTIONS = ["config.json", "preprocessor_config.json", "sekd.json"]
FOLDER_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
EXPORTED = (".onnx", ".xml", ".engine")


def resolve(path_or_id: str | Path, model: str | None = None) -> Path:
    """Find what `--pretrained`, `--teacher` or `--state` names.

    Args:
        path_or_id: a weight file; a folder of Hugging Face or timm (with `config.json`); a run
            folder (for its `best.pth`); `fields` for the weights in `ckpt_pretrained/`; or a
            Hugging Face id such as `nvidia/mit-b0`, downloaded once into that library's cache.
        model: network whose `fields` weights to find; None for the smallest that has any.

    Returns:
        A file, or a folder with weights and `config.json`.

    Raises:
        FileNotFoundError: if nothing has that name, locally or on the hub.
        ValueError: if the network has no `fields` weights.
    """
    if str(path_or_id) == NAME:
        return find_shipped(model)
    path = Path(path_or_id)
    if path.is_dir():
        return _resolve_folder(path)
    if path.exists():
        return path
    if looks_like_hub_id(str(path_or_id)):
        return _download(str(path_or_id))
    raise FileNotFoundError(
        f"{path_or_id}: no such file or folder; name a weight file, a run folder (with best.pth) "
        "or a Hugging Face id such as nvidia/mit-b0"
    )


def looks_like_hub_id(name: str) -> bool:
    """Whether `name` can be `owner/name` on the hub rather than a path that does not exist."""
    return (
        HUB_ID.fullmatch(name) is not None
        and not name.endswith(SUFFIXES)
        and not Path(name).parent.exists()
    )


def _resolve_folder(folder: Path) -> Path:
    if (folder / "config.json").exists():
        return folder
    if (folder / "best.pth").exists():
        return folder / "best.pth"
    raise FileNotFoundError(
        f"{folder}: neither a Hugging Face folder (config.json and {FOLDER_WEIGHTS[0]}) nor a run "
        "folder (best.pth)"
    )


def _download(name: str) -> Path:
    try:
        for weights in FOLDER_WEIGHTS:  # older models have only the pickled file
            folder = Path(snapshot_download(name, allow_patterns=[*DESCRIPTIONS, weights]))
            if (folder / weights).exists():
                break
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise FileNotFoundError(
            f"{name}: no such file or folder, and not to be had from the Hugging Face hub "
            f"({type(error).__name__}); where there is a network, run "
            f"'hf download {name} --local-dir DIR' and pass DIR"
        ) from error
    return folder


def folder_weights(folder: Path) -> Path:
    """Return the weight file of a Hugging Face or timm folder, FileNotFoundError without one."""
    for name in FOLDER_WEIGHTS:
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(f"{folder}: no {' or '.join(FOLDER_WEIGHTS)} in it")


def digest(path: Path) -> str:
    """SHA-256 of a weight file, or of the one in a Hugging Face or timm folder."""
    with (folder_weights(path) if path.is_dir() else path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_start(model: str) -> str | None:
    """SHA-256 of the file of `find_start`, which a later release may replace; None without one."""
    try:
        return digest(find_start(model))
    except ValueError:
        return None


def read(path: Path, map_location: str | torch.device = "cpu") -> Any:
    """Read a `.safetensors` file or what `torch.save` wrote, without running code from it.

    Raises:
        ValueError: for a pickle that `weights_only=True` refuses (the message says how to convert
            it), a truncated file, or one of another kind.
    """
    with open(path, "rb"):
        pass  # raises here if the file cannot be opened: later errors mean broken content
    try:
        if path.suffix == ".safetensors":
            own = read_shipped(path, map_location)
            return own or safetensors.torch.load_file(path, device=str(map_location))
        with warnings.catch_warnings():  # on pickle protocols: the file loads or is refused
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location=map_location, weights_only=True)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # on broken bytes the parsers raise almost any type
        if isinstance(error, UnpicklingError) and (
            "Unsupported global" in str(error) or zipfile.is_zipfile(path)
        ):
            raise ValueError(_refusal(path, error)) from error
        if "CUDA" in str(error):
            raise ValueError(f"{path}: cannot go to {map_location}: no CUDA here") from error
        if path.suffix.lower() in EXPORTED or _is_torchscript(path):
            raise ValueError(
                f"{path}: is an exported file: name the checkpoint it was made from"
            ) from error
        raise ValueError(
            f"{path}: not a weight file, or a truncated one ({type(error).__name__})"
        ) from error


def _is_torchscript(path: Path) -> bool:
    """Whether a file is an archive with code, as written by `torch.jit.save`."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def _refusal(path: Path, error: Exception) -> str:
    match = re.search(r"GLOBAL (\S+)", str(error))
    content = f"Python objects ({match[1]})" if match else "Python objects"
    return (
        f"{path}: holds {content} that are not loaded, since they could run code; if you trust its "
        'source, convert it: python -c "import torch; '
        f"d = torch.load('{path}', weights_only=False, map_location='cpu'); "
        f"torch.save(d.get('state_dict', d), '{path.with_suffix('.weights.pth')}')\""
    )
