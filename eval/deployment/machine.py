"""Description of the machine and the libraries behind a measured time."""

import platform
from importlib import metadata
from pathlib import Path

import torch

from models.saving import software_versions


def describe_machine(device: torch.device, *packages: str) -> dict[str, str]:
    """Return processor, threads, GPU, and the versions of Python, PyTorch and other packages.

    Args:
        device: the device that was timed.
        packages: further packages, listed if installed.
    """
    machine = {"CPU": f"{_processor()}, {torch.get_num_threads()} threads"}
    if device.type == "cuda":
        machine["GPU"] = torch.cuda.get_device_name(device)
    return machine | software_versions(*filter(_is_installed, packages))


def _is_installed(package: str) -> bool:
    try:
        return bool(metadata.version(package))
    except metadata.PackageNotFoundError:
        return False


def _processor() -> str:
    """Return the CPU's model name, which `platform.processor` lacks on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
