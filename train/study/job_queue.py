"""Run the jobs of a study: several in parallel, teachers first, without repeating finished ones."""

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
        "fields_sha256", "start_sha256", "teacher_sha256")  # fmt: skip


class Queue:
    """Starts jobs as processes and keeps track of the remaining ones.

    Several queues, on machines that share their folders, can work on the same study: a job that
    another process is training is waited for, once there is nothing else to do.

    Args:
        study: the study to run.
        left: jobs of the study to run now, see `train.study.jobs.to_train`.
        parallel: number of processes at a time. Each gets an equal share of the CPU cores as
            threads, unless OMP_NUM_THREADS is set.
        launcher: starts training scripts, such as `accelerate launch --num_processes 2`.
        tell: called with a message whenever a job starts, ends or fails.
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
        """Run the remaining jobs; report jobs that fail, and those that depend on them.

        Raises:
            KeyboardInterrupt: after the running jobs have saved and exited.
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
        """Jobs whose teachers have ended; those found in use by other processes come last."""
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
        """Train and score a job; return 0, the exit status of a failure, or None if in use."""
        try:
            # Training's own lock would be released before scoring.
            with locked(job.folder.with_name(f"{job.folder.name}.study")):
                check_free(job.folder)  # a run by hand, or one that outlived its study, may use it
                if can_teach(job):
                    return 0
                if status := self._train_and_score(job):
                    check_free(job.folder)  # another run may have been starting before
                return status
        except InUseError as error:
            if job not in self.elsewhere:
                self.tell(f"in use elsewhere: {name_of(job)}: {error.holder}")
            self.elsewhere.add(job)
            return None

    def _train_and_score(self, job: Job) -> int:
        """Train or resume a job, and score it; return 0 or the exit status of a failure."""
        self.tell(f"started: {name_of(job)}")
        words = [*self.launcher, str(SCRIPTS / f"train_{job.stage}.py"), *job.words]
        # A job killed before its first checkpoint starts over.
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
        """Run a command, appending its output to the job's log file."""
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
                # In its own process group, so that only `_stop` signals it: a second signal would
                # end it before it has saved.
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
            self.waiting.append(job)  # last, so that free jobs come first
            return
        if status == 0:
            self.tell(f"ended: {name_of(job)}")
            return
        self.failed.append(job)
        *_, last = log_of(job).read_text(errors="replace").strip().splitlines() or [""]
        self.tell(f"failed with status {status}: {name_of(job)}: {last} ({log_of(job)})")

    def _stop(self) -> None:
        """Stop the jobs, and wait until they have saved; a second Ctrl-C ends them sooner."""
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
    """Make closing the terminal stop the study like Ctrl-C, unless nohup ignores SIGHUP."""
    before = signal.getsignal(signal.SIGHUP)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
