"""The device that a command runs on, and what is refused."""

import pytest

from command_line.device import choose_device


def test_the_cpu_is_always_there():
    assert choose_device("cpu").type == choose_device(None, cpu=True).type == "cpu"


@pytest.mark.parametrize("name", ["xpu", "meta", "toaster"])
def test_devices_that_are_not_supported(name):
    with pytest.raises(ValueError, match=f"--device {name} is unknown; try cpu"):
        choose_device(name)


def test_flags_that_contradict_each_other():
    with pytest.raises(ValueError, match="--cpu and --device cuda contradict"):
        choose_device("cuda", cpu=True)
