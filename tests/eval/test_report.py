"""The page of report.py: what it says, and that a real browser shows it."""

import base64
import json
import re
import shutil
import subprocess
import sys
from urllib.request import Request, urlopen

import pytest
import yaml

from command_line.cli import run
from eval import report

LOG = """epoch,step,lr,loss{terms},images_per_second,data_waiting,miou,iou_soil
1,9,0.001,2.5{first},3.1,0.1,,
2,18,0.001,1.25{last},3.2,0.1,0.5,0.75
"""
FLAGS = {"stage": "student", "batch_size": 4, "flip": False, "image_size": [480, 640], "lr": 0.001}


@pytest.fixture
def make_runs(write_checkpoint, tmp_path):
    """Folders of a student, a distilled student with its loss terms, and a bare teacher."""

    def make():
        folders = [tmp_path / name for name in ("student", "sekd", "old <teacher>")]
        for folder in folders:
            folder.mkdir()
        write_checkpoint("student/best.pth", args=FLAGS, seed=0, metrics={"epoch": 2, "step": 18})
        write_checkpoint("sekd/best.pth", method="sekd-ct", args={"stage": "sekd"})
        write_checkpoint("old <teacher>/best.pth", args={"stage": "teacher"})
        (folders[0] / "args.yaml").write_text(yaml.safe_dump(FLAGS))
        (folders[0] / "log.csv").write_text(LOG.format(terms="", first="", last=""))
        terms = {"terms": ",cross_entropy,texture", "first": ",1.5,1", "last": ",1,0.25"}
        (folders[1] / "log.csv").write_text(LOG.format(**terms))
        return [str(folder) for folder in folders]

    return make


@pytest.fixture
def write_page(voc_root, tmp_path, monkeypatch):
    """`write_page(*runs)`: the page's path; SystemExit where the command refuses."""

    def write(*states, output=tmp_path / "page.html"):
        flags = ["--datadir", str(voc_root), "--output", str(output), "--images", "2"]
        flags += ["--cpu", "--num-workers", "0"]
        monkeypatch.setattr(sys, "argv", ["report.py", *states, *flags])
        report.main()
        return output

    return write


def test_page_says_what_the_runs_are(make_runs, write_page):
    page = write_page(*make_runs(), "--merge", "plants=crop,weed").read_text()
    # Nothing is fetched: every address is data or a place on the page.
    addresses = re.findall(r'(?:src|srcset|href)="([^"]*)"', page)
    assert addresses and all(a.startswith(("data:", "#")) for a in addresses)
    for name in ("student SegformerB0", "SEKD-CT SegformerB0", "teacher SegformerB0"):
        assert f">{name}</th>" in page  # a column of the table of scores
        assert f'alt="Prediction of {name} for field0"' in page
        assert f'alt="Errors of {name} in field3"' in page
    command = "python train/train_student.py --batch-size 4 --no-flip --image-size 480x640"
    assert f"<pre>{command} --lr 0.001</pre>" in re.sub("</?span>", "", page)
    assert "<dd>epoch 2, step 18</dd>" in page
    assert "vs student" in page and "chosen by its score on this very" in " ".join(page.split())
    assert "mIoU over optimizer steps. student SegformerB0: best 50.0 % at step 18" in page
    for term in ("loss from 2.5 to 1.25", "cross_entropy from 1.5 to 1", "texture from 1 to 0.25"):
        assert f'alt="Loss curve: {term}."' in page
    worst, best = (
        [float(score) for score in re.findall(rf"one of the {why}, mIoU ([\d.]+) %", page)]
        for why in ("worst", "best")
    )
    assert len(worst) == len(best) == 2 and worst[0] <= worst[1] <= best[1] <= best[0]
    # mIoU, soil, crop, weed, pixel accuracy, and what the networks cost
    table = page.split('id="table-scores"')[1].split("</table>")[0]
    rows = re.findall(r'<th scope="row">(?:<span[^>]*></span>)?([^<]*)</th>', table)
    assert rows == [
        "M params", "G MACs", "image size", "ms per image", "mIoU", "vs student", "pixel accuracy",
        "soil", "crop", "weed", "plants (merged)",
    ]  # fmt: skip
    assert "teacher SegformerB0: no log.csv beside its checkpoint" in page
    assert "old &lt;teacher&gt;" in page and "<teacher>" not in page
    for kind in ("png", "jpeg"):
        picture = re.search(rf'src="data:image/{kind};base64,([^"]+)"', page)[1]
        assert len(base64.b64decode(picture, validate=True)) > 100


def test_a_checkpoint_alone_makes_a_page(write_checkpoint, write_page):
    page = write_page(str(write_checkpoint(args={})[0])).read_text()
    assert "network SegformerB0" in page and "The command is not known" in page
    assert "No log.csv of these runs" in page and "vs student" not in page


@pytest.mark.parametrize(
    ("output", "message"),
    [("", "is a folder; name a file"), ("file/a.html", "cannot be written (")],
)
def test_an_output_that_cannot_be_written_is_refused(write_page, tmp_path, capsys, output, message):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as ended:
        run(lambda: write_page("no-run", output=tmp_path / output))
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert f"--output {tmp_path / output}: {message}" in told and told.count("\n") == 1


class Browser:
    """Headless Chromium, driven by its own WebDriver over HTTP, without the network."""

    FLAGS = (
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    )

    def __init__(self, profile):
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True
        )
        started = next(line for line in self.driver.stdout if "started successfully" in line)
        self.url = f"http://127.0.0.1:{re.search(r'on port ([0-9]+)', started)[1]}/session"
        options = {"args": [*self.FLAGS, f"--user-data-dir={profile}", "--window-size=1280,900"]}
        options["binary"] = shutil.which("chromium")
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = self.call("", capabilities={"alwaysMatch": wanted})["sessionId"]
        self.url += f"/{session}"

    def call(self, path, method="POST", **body):
        data = json.dumps(body).encode() if method == "POST" else None
        headers = {"Content-Type": "application/json"}
        with urlopen(Request(self.url + path, data, headers, method=method), timeout=120) as reply:
            return json.load(reply)["value"]

    def run(self, script):
        return self.call("/execute/sync", script=script, args=[])

    def console(self):
        """What the page wrote to the console since the last call."""
        return [entry["message"] for entry in self.call("/se/log", type="browser")]

    def devtools(self, command, **parameters):
        self.call("/goog/cdp/execute", cmd=command, params=parameters)

    def close(self):
        try:
            self.call("", method="DELETE")
        finally:
            self.driver.terminate()
            self.driver.wait(30)
            self.driver.stdout.close()


@pytest.fixture
def browser(tmp_path):
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program} (Debian's chromium and chromium-driver)")
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.close()


SHOWN = """
const shown = node => node.checkVisibility() && node.getBoundingClientRect().height > 20;
return {
  pictures: [...document.images].map(i => [i.alt, i.naturalWidth > 0 && shown(i), i.currentSrc]),
  tables: [...document.querySelectorAll("table")].map(t => [t.id, t.rows.length, shown(t)]),
  overflow: document.documentElement.scrollWidth - window.innerWidth,
  ink: getComputedStyle(document.body).color,
};
"""


def test_a_browser_shows_pictures_and_tables_without_an_error(
    make_runs, write_page, browser, tmp_path
):
    page = write_page(*make_runs())
    browser.call("/url", url=page.as_uri())
    light = browser.run(SHOWN)
    # bars, 3 confusion matrices, mIoU, 1 + 3 losses; 4 images with label and 3 times 2 maps
    assert len(light["pictures"]) == 9 + 4 * (2 + 3 * 2)
    assert all(alt and visible for alt, visible, _ in light["pictures"]), light["pictures"]
    assert [(name, shown) for name, _, shown in light["tables"]] == [
        ("table-scores", True), ("table-flags", True), ("table-versions", True),
    ]  # fmt: skip
    assert light["tables"][0][1] == 1 + 10

    feature = {"name": "prefers-color-scheme", "value": "dark"}
    browser.devtools("Emulation.setEmulatedMedia", features=[feature])
    browser.devtools("Emulation.setDeviceMetricsOverride", width=360, height=740,
                     deviceScaleFactor=1, mobile=True)  # fmt: skip
    browser.call("/refresh")
    dark = browser.run(SHOWN)
    assert all(visible for _, visible, _ in dark["pictures"])
    assert dark["ink"] != light["ink"]
    assert dark["pictures"][0][2] != light["pictures"][0][2], "the charts are drawn for dark too"
    assert dark["overflow"] <= 0, "a phone scrolls tables, never the page"
    assert browser.console() == []

    # The same look at a page with a picture that is not there must find it.
    broken = tmp_path / "broken.html"
    broken.write_text(page.read_text().replace("</main>", '<img src="gone.png" alt="gone"></main>'))
    browser.call("/url", url=broken.as_uri())
    assert ["gone", False] in [entry[:2] for entry in browser.run(SHOWN)["pictures"]]
    assert browser.console()
