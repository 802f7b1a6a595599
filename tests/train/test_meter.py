"""What an epoch adds up to, by hand."""

import pytest
import torch

from train.meter import Meter, NonFiniteLossError, Tally


def terms(loss, texture):
    return {"loss": torch.tensor(loss), "texture": torch.tensor(texture)}


def test_means_are_over_all_steps_and_the_latest_is_the_last():
    meter = Meter()
    meter.add(1, terms(4.0, 1.0))
    meter.add(2, terms(2.0, 0.5))
    meter.read()
    meter.add(3, terms(3.0, 0.0))
    assert meter.means() == {"loss": 3.0, "texture": 0.75}  # of those that were read
    meter.read()
    assert meter.means() == {"loss": 3.0, "texture": 0.5}
    assert meter.latest == {"loss": 3.0, "texture": 0.0}
    assert meter.tally.count == 3 and not meter.pending


def test_a_resumed_epoch_goes_on_counting():
    meter = Meter(Tally(sums={"loss": 6.0, "texture": 2.0}, count=2))
    meter.add(3, terms(0.0, 1.0))
    meter.read()
    assert meter.means() == {"loss": 2.0, "texture": 1.0}


def test_rates_are_per_second_and_none_before_the_first_step():
    assert (Meter().images_per_second, Meter().waiting_share) == (0, 0)
    meter = Meter(images=12, seconds=4.0, waiting=1.0, latest={"loss": 0.5})
    assert (meter.images_per_second, meter.waiting_share) == (3, 0.25)
    assert meter.describe(1e-3) == "loss 0.500 | lr 1.0e-03 | 3.0 img/s | data 25%"


@pytest.mark.parametrize(
    ("values", "named"), [((float("inf"), float("nan")), "texture"), ((float("inf"), 1.0), "loss")]
)
def test_the_term_that_broke_the_sum_is_named(values, named):
    meter = Meter()
    meter.add(1, terms(1.0, 1.0))
    meter.add(2, terms(*values))
    with pytest.raises(NonFiniteLossError, match=f"^step 2: loss term '{named}' is"):
        meter.read()
