"""Too little memory becomes advice; other errors stay what they are."""

import pytest
import torch

from command_line.memory import memory_advice


def on_the_cpu():
    torch.empty(2**60, dtype=torch.uint8)


def on_a_gpu():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize("fail", [on_the_cpu, on_a_gpu])
def test_advice_where_memory_ends(fail):
    with pytest.raises(ValueError, match="^smaller images$"), memory_advice("smaller images"):
        fail()


def test_other_errors_are_left_alone():
    with pytest.raises(RuntimeError, match="shape"), memory_advice("smaller images"):
        raise RuntimeError("shape mismatch")
