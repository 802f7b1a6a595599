"""A small data set in VOC layout, and the training scripts called in this process."""

import importlib
import signal
import sys

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from torch.optim.optimizer import register_optimizer_step_post_hook

TINY = {"embed_dims": (8, 16, 24, 32), "depths": (1, 1, 1, 1), "head_dim": 16}
TINY_RUN = (
    *("--dataset", "VOC", "--classes", "soil,crop,weed", "--height", "32", "--width", "64"),
    *("--batch-size", "2", "--num-workers", "0", "--device", "cpu", "--num-epochs", "2"),
)


def write_voc(root, train=6, val=2, size=(48, 64), seed=0):
    """Images whose brightness tells the class, so that a network can learn something."""
    random = np.random.default_rng(seed)
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    names = [f"field{i:02d}" for i in range(train + val)]
    for name in names:
        label = np.kron(random.integers(0, 3, (3, 4)), np.ones((size[0] // 3, size[1] // 4)))
        image = label[..., None] * 90 + random.integers(0, 40, (*size, 3))
        Image.fromarray(image.astype(np.uint8)).save(root / "JPEGImages" / f"{name}.jpg")
        label[0] = 255
        Image.fromarray(label.astype(np.uint8)).save(root / "SegmentationClass" / f"{name}.png")
    lists = root / "ImageSets" / "Segmentation"
    (lists / "train.txt").write_text("\n".join(names[:train]))
    (lists / "val.txt").write_text("\n".join(names[train:]))
    return root


@pytest.fixture(scope="session", name="write_voc")
def write_voc_fixture():
    """`write_voc(root, train, val, size)`: make a small data set in VOC layout."""
    return write_voc


@pytest.fixture(scope="session")
def voc(tmp_path_factory):
    """Root of a data set with 6 training and 2 validation images of 48 x 64 px."""
    return write_voc(tmp_path_factory.mktemp("voc") / "VOC2012")


@pytest.fixture
def run_stage(voc, tmp_path, monkeypatch):
    """`run_stage("student", *flags)`: run a training script on `voc`; return the exit status."""
    # A network of B0's shape with few channels: the loop is tested here, not the network.
    import train.networks
    from models import build_model

    monkeypatch.setattr(
        train.networks, "build_model", lambda name, classes: build_model(name, classes, **TINY)
    )
    # Accelerate keeps devices and processes in a singleton, which outlives a run.
    from accelerate.state import AcceleratorState

    def run(stage, *flags, data=voc):
        from command_line.cli import run as run_command

        AcceleratorState._reset_state(True)
        script = importlib.import_module(f"train.train_{stage}")
        arguments = (*TINY_RUN, "--datadir", str(data), "--savedir", str(tmp_path / "runs"))
        monkeypatch.setattr(sys, "argv", [f"train_{stage}.py", *arguments, *map(str, flags)])
        with pytest.raises(SystemExit) as ended:
            run_command(script.main)
        return ended.value.code

    return run


@pytest.fixture
def after_update():
    """`after_update(step, act)`: call `act(optimizer)` once, after that step's update."""
    handles = []

    def register(step, act):
        def hook(optimizer, args, kwargs):
            taken = next(iter(optimizer.state.values()))["step"]
            if int(taken) == step:
                handle.remove()
                act(optimizer)

        handle = register_optimizer_step_post_hook(hook)
        handles.append(handle)

    yield register
    for handle in handles:
        handle.remove()


@pytest.fixture
def interrupt_after(after_update):
    """`interrupt_after(step)`: press Ctrl-C during the given optimizer step, once."""
    return lambda step: after_update(step, lambda _: signal.raise_signal(signal.SIGINT))


@pytest.fixture
def runs(tmp_path):
    """Where `run_stage` leaves its run folders."""
    return tmp_path / "runs"


@pytest.fixture
def load():
    """`load(path)`: the content of a checkpoint."""
    return lambda path: torch.load(path, weights_only=True)


def assert_same(a, b, where="checkpoint"):
    """Equal to the last bit, through nested containers."""
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}[{i}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where


@pytest.fixture(name="assert_same")
def assert_same_fixture():
    """Compare two checkpoints to the last bit."""
    return assert_same


class Scaler(torch.amp.GradScaler):
    """The scaler of fp16 on a CPU: it grows every second step, and may press Ctrl-C."""

    def __init__(self, interrupt_at: int | None) -> None:
        super().__init__("cpu", init_scale=16.0, growth_interval=2)
        self.interrupt_at = interrupt_at
        self.updates = 0

    def update(self, new_scale: float | None = None) -> None:
        super().update(new_scale)
        self.updates += 1
        if self.updates == self.interrupt_at:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture
def use_scaler(monkeypatch):
    """`use_scaler(interrupt_at)`: give the next run a scaler, which fp16 has on a GPU only."""

    def use(interrupt_at=None):
        import train.run

        def build(**arguments):
            accelerator = Accelerator(**arguments)
            accelerator.scaler = Scaler(interrupt_at)
            return accelerator

        monkeypatch.setattr(train.run, "Accelerator", build)

    return use
