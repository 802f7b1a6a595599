import csv
import json
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
import torch
import visdom

from train.checkpoint import Progress
from train.trackers import CsvLog, TensorBoardLog, Trackers, VisdomLog


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


@pytest.fixture
def visdom_port(tmp_path):
    """The port of a real Visdom server, started for the test."""
    port = free_port()
    # `python -m visdom.server` first downloads the page's scripts, and ends where it cannot.
    code = "from visdom.server.run_server import main; main()"
    words = ["-port", str(port), "-env_path", str(tmp_path), "-bind_local"]
    server = subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 150  # its imports are slow on a busy machine
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("localhost", port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.2)
    yield port
    server.terminate()
    server.wait()


@pytest.mark.slow
def test_visdom_shows_losses_scores_and_pictures_of_a_run(visdom_port, run_stage):
    port = str(visdom_port)
    every_step = ("--steps-loss", "1", "--steps-plot", "1")
    assert run_stage("student", "--visualize", "--port", port, *every_step) == 0
    client = visdom.Visdom(port=visdom_port, use_incoming_socket=False)
    windows = client.get_window_data(env="student-SegformerB0-VOC")
    windows = json.loads(windows) if isinstance(windows, str) else windows
    for expected in ("losses", "mIoU", "field06"):
        assert expected in str(windows)
    curves = [line["name"] for line in windows["losses"]["content"]["data"]]
    assert curves == ["loss"]  # on a scale with the speed nobody would see it fall
    assert {"lr", "images_per_second"} <= windows.keys()
    for expected in ("<b>best_miou</b> 0.", "<b>width</b> 64<br>"):
        assert expected in windows["run"]["content"]
    with urllib.request.urlopen(f"http://localhost:{port}/") as page:  # tornado 6.6 refuses it
        assert page.status == 200


def test_without_a_server_one_warning_and_training_goes_on(run_stage, runs):
    with pytest.warns(UserWarning, match="no Visdom server at") as caught:
        assert run_stage("student", "--visualize", "--port", str(free_port())) == 0
    assert len([w for w in caught if "Visdom" in str(w.message)]) == 1
    assert (runs / "student-SegformerB0-VOC" / "best.pth").exists()


def test_a_server_that_dies_is_left_alone(visdom_port):
    log = VisdomLog(visdom_port, "env", {}, every=1)
    log.client.line = None  # calling it fails, as a lost connection does
    with pytest.warns(UserWarning, match="no Visdom server"):
        log.scalars(1, {"loss": 1.0})
    log.scalars(2, {"loss": 1.0})  # a second call would fail as the first did
    log.epoch({"epoch": 1, "miou": 0.5}, 2)
    assert log.client is None


def test_csv_keeps_the_epochs_before_and_drops_those_to_be_repeated(tmp_path):
    for done, epochs in ((0, (1, 2, 3)), (2, (3, 4))):
        log = CsvLog(tmp_path, Progress(epoch=done, step=done), ended=False)
        for epoch in epochs:
            log.epoch({"epoch": epoch, "loss": epoch + 0.5, "miou": None}, step=epoch)
        log.close()
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert rows[2] == {"epoch": "3", "loss": "3.5", "miou": ""}


@pytest.mark.parametrize("steps", [2, 4])  # within the first epoch, and within the second
def test_the_row_of_an_epoch_that_max_steps_cut_short_stays_until_it_is_finished(
    steps, run_stage, runs
):
    path = runs / "cut" / "log.csv"
    flags = ("--run-name", "cut", "--warmup-steps", "0")
    assert run_stage("student", *flags, "--max-steps", steps) == 0
    before = path.read_text()
    assert f",{steps}," in before.splitlines()[-1]
    assert run_stage("student", *flags, "--max-steps", steps, "--resume") == 0
    assert path.read_text() == before
    assert run_stage("student", *flags, "--max-steps", 6, "--resume") == 0
    assert [row["step"] for row in csv.DictReader(path.open())] == ["3", "6"]


def test_csv_keeps_its_rows_when_a_resumed_run_adds_none(tmp_path):
    log = CsvLog(tmp_path, Progress(), ended=False)
    log.epoch({"epoch": 1, "step": 1, "loss": 0.5}, step=1)
    log.close()
    before = (tmp_path / "log.csv").read_text()
    CsvLog(tmp_path, Progress(epoch=1, step=1), ended=True).close()
    assert (tmp_path / "log.csv").read_text() == before


def hyperparameters(folder):
    """What TensorBoard's own reader finds of a folder of runs: columns, and a row a run."""
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams.backend_context import Context
    from tensorboard.plugins.hparams.list_session_groups import Handler

    events = EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload()
    reader = Context(TBContext(data_provider=MultiplexerDataProvider(events, str(folder))))
    request = RequestContext()
    columns = reader.experiment_from_metadata(
        request, "", True, reader.hparams_metadata(request, ""), []
    )
    metrics = [column.name for column in columns.metric_infos]
    everything = api_pb2.ListSessionGroupsRequest(
        allowed_statuses=[api_pb2.STATUS_SUCCESS],
        col_params=[api_pb2.ColParams(metric=name) for name in metrics],
        start_index=0,
        slice_size=100,
    )
    rows = Handler(request, reader, "", everything).run().session_groups
    return {column.name for column in columns.hparam_infos}, {
        row.sessions[0].name: (
            {name: value.WhichOneof("kind") for name, value in row.hparams.items()},
            {value.name.tag: value.value for value in row.metric_values},
        )
        for row in rows
    }


def test_tensorboard_pairs_hyperparameters_with_the_final_scores(tmp_path):
    for name, more in (("a", {}), ("b", {"method": "kd", "amp": None, "flip": True})):
        log = TensorBoardLog(tmp_path / name, {"lr": 0.1, **more}, 0, every=1)
        log.final({"best_miou": 0.75, "last_miou": 0.5}, 10)
        log.close()
    columns, rows = hyperparameters(tmp_path)
    assert columns == {"lr", "method", "flip"}  # also those that only the second run has
    assert set(rows) == {"a", "b"}  # each in its own folder: no other runs beside them
    flags, scores = rows["b"]
    assert flags["lr"] == "number_value" and flags["method"] == flags["flip"] == "string_value"
    assert scores == {"at_end/best_miou": 0.75, "at_end/last_miou": 0.5}


def test_the_final_scores_of_a_run_reach_tensorboard(run_stage, runs):
    assert run_stage("student", "--test-split", "val") == 0
    flags, scores = hyperparameters(runs)[1]["student-SegformerB0-VOC"]
    assert {"model", "lr", "seed", "stage"} <= set(flags)
    saved = torch.load(runs / "student-SegformerB0-VOC" / "best.pth", weights_only=True)
    assert scores["at_end/best_miou"] == pytest.approx(saved["metrics"]["miou"], abs=1e-6)
    assert scores["at_end/test_miou"] == pytest.approx(scores["at_end/best_miou"], abs=1e-6)
    assert scores["at_end/last_miou"] == scores["epoch/miou"]


def test_tensorboard_holds_scalars_pictures_and_flags(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = Trackers([TensorBoardLog(tmp_path, {"lr": 0.1}, 0, every=5)])
    log.scalars(5, {"loss": 2.0})
    log.epoch({"miou": 0.5, "train_miou": None}, 5)
    log.picture("field", np.zeros((8, 8, 3), np.uint8), 5)
    log.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    tags = events.Tags()
    assert {"train/loss", "epoch/miou"} <= set(tags["scalars"])
    assert tags["images"] == ["validation/field"]
    assert events.Scalars("train/loss")[0].step == 5


def test_tensorboard_drops_what_is_repeated_and_keeps_the_validation_before(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = TensorBoardLog(tmp_path, {}, 0, every=1)
    for step, miou in ((3, 0.25), (6, 0.5), (7, 0.75)):
        log.epoch({"miou": miou}, step)
    log.close()
    (first,) = tmp_path.iterdir()
    first.rename(tmp_path / "events.out.tfevents.1")  # older by name, as it is after a second
    TensorBoardLog(tmp_path, {}, 6, every=1).close()
    points = EventAccumulator(str(tmp_path)).Reload().Scalars("epoch/miou")
    assert [(point.step, point.value) for point in points] == [(3, 0.25), (6, 0.5)]
