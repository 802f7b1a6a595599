"""Fixtures that every test folder shares.

Reference values and field images lie in a folder beside the project (or where SEKD_SHARED points).
It exists on development machines and in CI only: tests that need it are skipped where it is absent.
"""

import json
import os
import signal
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

# Two workers on two cores: more threads than that slow each other down. It is set before torch
# starts its thread pool, and processes that a test starts inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")  # figures are written, never shown
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may depend on the network

import numpy as np
import pytest
import torch

from command_line.ending import ENDING

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("SEKD_SHARED", ROOT.parent / "shared"))
TINY = {"embed_dims": (8, 16, 24, 32), "depths": (1, 1, 1, 1), "head_dim": 16}


@pytest.fixture(autouse=True)
def signal_handlers() -> Iterator[None]:
    """Take back the handlers that a command leaves behind: it is the last thing a process does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background job
    handlers = {each: signal.getsignal(each) for each in ENDING}
    yield
    for each, handler in handlers.items():
        signal.signal(each, handler)


def shared_path(*parts: str) -> Path:
    """A path in the shared folder; the test is skipped where it does not exist."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs {path} (SEKD_SHARED names another place)")
    return path


@pytest.fixture(scope="session")
def golden() -> Callable[[str], dict]:
    """`golden("sekd")`: the reference file of that name, parsed."""
    return lambda name: json.loads(shared_path("golden", f"{name}.json").read_text())


@pytest.fixture(scope="session")
def golden_tensor(golden) -> Callable[..., torch.Tensor]:
    """`golden_tensor(name, shape, low, high)`: the float32 input that belongs to a name."""
    salt = golden("sekd")["salt"]

    def draw(name: str, shape, low: float, high: float) -> torch.Tensor:
        random = np.random.RandomState(zlib.crc32((salt + name).encode()))
        return torch.from_numpy(random.uniform(low, high, size=tuple(shape)).astype(np.float32))

    return draw


@pytest.fixture(scope="session")
def fill_golden(golden_tensor) -> Callable[..., dict[str, torch.Tensor]]:
    """`fill_golden(entries, name=...)`: the reference weights under the keys of `entries`.

    `entries` is a state dict or a listing {key: shape}; `name(key)` turns a key into the published
    name that the values are drawn from (by default the key itself).
    """

    def fill(
        entries: Mapping[str, torch.Tensor | list[int]],
        name: Callable[[str], str] = lambda key: key,
    ) -> dict[str, torch.Tensor]:
        return {key: weight(name(key), entry) for key, entry in entries.items()}

    def weight(name: str, entry: torch.Tensor | list[int]) -> torch.Tensor:
        shape = tuple(entry.shape if isinstance(entry, torch.Tensor) else entry)
        if name.endswith("num_batches_tracked"):
            return torch.zeros(shape, dtype=torch.long)
        values = golden_tensor(name, shape, -0.1, 0.1)
        if name.endswith("running_var"):
            return values.abs() + 0.5
        return values + 1 if name.endswith("weight") and len(shape) == 1 else values

    return fill


@pytest.fixture(scope="session")
def cwfid_root() -> Path:
    """The Crop/Weed Field Image Dataset as published."""
    return shared_path("data", "cwfid")


@pytest.fixture(scope="session")
def camvid_root() -> Path:
    """CamVid with 11 classes, in the folders of the SegNet tutorial."""
    return shared_path("data", "camvid")


@pytest.fixture
def build_tiny() -> Callable[..., torch.nn.Module]:
    """`build_tiny(num_classes=3, **overrides)`: a SegFormer of B0's shape with few channels."""
    from models import build_model

    def build(num_classes: int = 3, seed: int = 0, **overrides) -> torch.nn.Module:
        torch.manual_seed(seed)
        return build_model("SegformerB0", num_classes=num_classes, **(TINY | overrides))

    return build


@pytest.fixture
def tiny_model(build_tiny) -> torch.nn.Module:
    """A seeded three-class network that is small enough for any test, in eval mode."""
    return build_tiny().eval()
