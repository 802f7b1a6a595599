"""What a comparison refuses; the scores themselves are those of eval.py."""

from types import SimpleNamespace

import pytest

from conventions.preprocessing import Preprocessing
from eval.runs import check_comparable


def subject(pairs=("a",), protocol="standard"):
    dataset = SimpleNamespace(name="CWFID", split="test", pairs=list(pairs))
    return SimpleNamespace(dataset=dataset, preprocessing=Preprocessing(protocol=protocol))


def test_runs_on_other_images_or_under_another_protocol_are_refused():
    check_comparable("b", subject(), subject())
    with pytest.raises(ValueError, match="b would be scored on other images"):
        check_comparable("b", subject(pairs="ab"), subject())
    with pytest.raises(ValueError, match="b would be scored by the protocol paper.*--protocol"):
        check_comparable("b", subject(protocol="paper"), subject())
