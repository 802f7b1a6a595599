"""What the charts of a report draw."""

import base64
import re

import pytest

from eval.reporting.charts import Curve, loss_charts, miou_chart

CURVE = Curve("student", [6, 12, 18, 24], [0.1, 0.2, 0.15, 0.3])


@pytest.mark.parametrize("chart", [miou_chart([(0, CURVE)]), *loss_charts([CURVE])])
def test_steps_are_whole_numbers(chart):
    drawing = base64.b64decode(chart.light.partition(",")[2]).decode()
    ticks = re.findall(r'id="xtick_\d+">.*?<!-- (.*?) -->', drawing, re.DOTALL)
    assert len(ticks) > 2 and all(tick.isdecimal() for tick in ticks)
