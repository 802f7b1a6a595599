"""Run the jobs of a study: several at a time, teachers first, what has ended never again."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from command_line.documents import read_json
from command_line.process_group import start, terminate, wait_for_all
from eval.results import write_json
from train.folder_lock import InUseError, check_free, locked
from train.run_folder import ARGUMENTS, LAST, LOG, RESULTS
from train.study.jobs import (
    COUNTS,
    SCORES,
    TRAINING,
    can_teach,
    log_of,
    name_of,
    teachers_of,
)
from train.study.study import Job, Study

SCRIPTS = Path(__file__).parents[1]
EVALUATE = SCRIPTS.parent / "eval" / "eval.py"
WATCH = 3  # seconds
KEPT = ("processes", "seconds", "resumed", "hardware", "versions", "git", "weights_sha256",
        "fields_sha256")  # fmt: skip


class Queue:
    """Starts jobs as processes and remembers which are left.

    Several queues, on machines that share their folders, may work on one study: a job that another
    process trains is waited for, once there is nothing else to do.

    Args:
        study: what to run.
        left: jobs of the study to run now, see `train.study.jobs.to_train`.
        parallel: processes at a time. Each has an even share of the processor's cores, or as many
            threads as OMP_NUM_THREADS says.
        launcher: what starts a training script, such as `accelerate launch --num_processes 2`.
        tell: called with a line whenever a job starts, ends or fails.
        watch: called every few seconds.
    """

    def __init__(
        self,
        study: Study,
        left: Sequence[Job],
        parallel: int,
        launcher: str,
        tell: Callable[[str], None],
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        self.study = study
        self.waiting = list(left)
        self.running: dict[Future, Job] = {}
        self.parallel = parallel
        self.launcher = shlex.split(launcher) or [sys.executable]
        self.tell = tell
        self.watch = watch
        self.failed: list[Job] = []
        self.elsewhere: set[Job] = set()
        self.processes: set[subprocess.Popen] = set()
        self.lock = threading.Lock()
        self.stopped = False

    def run(self) -> None:
        """Run what is left; a job that fails is reported, and so are those that need it.

        Raises:
            KeyboardInterrupt: after the running jobs have saved and ended.
        """
        running = self.running
        with _hang_up_stops(), ThreadPoolExecutor(self.parallel) as pool:
            try:
                while self.waiting or running:
                    for job in self._ready()[: self.parallel - len(running)]:
                        self.waiting.remove(job)
                        running[pool.submit(self._work, job)] = job
                    if not running:
                        break
                    ended, _ = wait(running, timeout=WATCH, return_when=FIRST_COMPLETED)
                    self.watch()
                    statuses = {running.pop(future): future.result() for future in ended}
                    for job, status in statuses.items():
                        self._note(job, status)
                    if statuses and set(statuses.values()) == {None}:
                        time.sleep(WATCH)
            except BaseException:
                self._stop()
                raise
        for job in self.waiting:
            lost = [name_of(t) for t in teachers_of(self.study, job) if not can_teach(t)]
            self.tell(f"left out: {name_of(job)}: no weights of its teacher {'; '.join(lost)}")
        self.failed += self.waiting

    def _ready(self) -> list[Job]:
        """Jobs whose teachers have ended; those of other processes come last."""
        busy = {*self.waiting, *self.running.values()}
        return [
            job
            for job in self.waiting
            if all(
                teacher not in busy and can_teach(teacher)
                for teacher in teachers_of(self.study, job)
            )
        ]

    def _work(self, job: Job) -> int | None:
        """Train and score a job; return the status of what failed, 0, or None if it is in use."""
        try:
            # The lock of training itself would end before the scoring.
            with locked(job.folder.with_name(f"{job.folder.name}.study")):
                check_free(job.folder)  # of a run by hand, or one that has outlived its study
                if can_teach(job):
                    return 0
                if status := self._train_and_score(job):
                    check_free(job.folder)  # of one that was still starting a moment ago
                return status
        except InUseError as error:
            if job not in self.elsewhere:
                self.tell(f"in use elsewhere: {name_of(job)}: {error.holder}")
            self.elsewhere.add(job)
            return None

    def _train_and_score(self, job: Job) -> int:
        """Train, or resume, and score; return the status of what failed, or 0."""
        self.tell(f"started: {name_of(job)}")
        words = [*self.launcher, str(SCRIPTS / f"train_{job.stage}.py"), *job.words]
        # What was killed before its first checkpoint begins anew.
        words.append("--resume" if (job.folder / LAST).exists() else "--overwrite")
        if status := self._start(job, words):
            return status
        if job.results != job.folder:
            job.results.mkdir(parents=True, exist_ok=True)
            for name in (ARGUMENTS, LOG):
                shutil.copy(job.folder / name, job.results / name)
            record = read_json(job.folder / RESULTS)
            kept = {name: record[name] for name in KEPT if name in record}
            write_json(job.results / TRAINING, kept)
        return self._start(job, self._scoring(job))

    def _scoring(self, job: Job) -> list[str]:
        state = job.folder / LAST
        words = [sys.executable, str(EVALUATE), "--state", str(state), "--num-workers", "0"]
        words += ["--per-image", str(job.results / COUNTS), "--json", str(job.results / SCORES)]
        return words + (["--subset", self.study.score] if self.study.score else [])

    def _start(self, job: Job, words: list[str]) -> int:
        """Run a command with its output in the job's log file."""
        threads = os.environ.get("OMP_NUM_THREADS") or str(
            max(1, (os.cpu_count() or 1) // self.parallel)
        )
        log = log_of(job)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as output:
            output.write(f"$ {shlex.join(words)}\n")
            output.flush()
            with self.lock:
                if self.stopped:
                    return 130
                # A second signal would end it before it has saved: `_stop` hands on the one.
                process = start(
                    words,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, "OMP_NUM_THREADS": threads},
                )
                self.processes.add(process)
            status = process.wait()
            self.processes.discard(process)
        return status

    def _note(self, job: Job, status: int | None) -> None:
        if status is None:
            self.waiting.append(job)  # last: what is free comes first
            return
        if status == 0:
            self.tell(f"ended: {name_of(job)}")
            return
        self.failed.append(job)
        *_, last = log_of(job).read_text(errors="replace").strip().splitlines() or [""]
        self.tell(f"failed with status {status}: {name_of(job)}: {last} ({log_of(job)})")

    def _stop(self) -> None:
        """Have the jobs save and end, and wait for them; a second Ctrl-C has them end sooner."""
        with self.lock:
            self.stopped = True
            processes = list(self.processes)
        try:
            for process in processes:
                terminate(process)
            for process in processes:
                wait_for_all(process)
        except KeyboardInterrupt:
            for process in processes:
                terminate(process)
            raise


@contextmanager
def _hang_up_stops() -> Iterator[None]:
    """Let a terminal that is closed stop the study as Ctrl-C does; not where nohup ignores it."""
    before = signal.getsignal(signal.SIGHUP)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
