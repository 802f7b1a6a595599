"""The device that a command runs on."""

import torch


def choose_device(name: str | None, cpu: bool = False) -> torch.device:
    """Return the device chosen by `--device` and `--cpu`; by default a GPU if there is one.

    Raises:
        ValueError: an unknown or unavailable device, or flags that contradict each other.
    """
    if cpu and name not in (None, "cpu"):
        raise ValueError(f"--cpu and --device {name} contradict each other: leave one of them out")
    if cpu or name is None:
        return torch.device("cuda" if torch.cuda.is_available() and not cpu else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"--device {name} is unknown; try cpu, cuda, cuda:1 or mps")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"--device {name}: PyTorch finds no CUDA here; use --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"--device {name}: there are {torch.cuda.device_count()} GPUs")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("--device mps: PyTorch finds no MPS here; use --device cpu")
    return device
