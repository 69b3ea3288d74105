"""Runs jobs as processes of their own, one on each device, and stops them in order when it is stopped itself."""

import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NamedTuple, TypeVar

T = TypeVar("T")

GRACE = 20.0
"""Seconds that a run has, after it was interrupted, to end by itself."""
PAUSE = 0.05
"""Seconds between two looks at what is running."""


class Start(NamedTuple):
    """What is started for a job, and the file that takes its output."""

    command: Sequence[str]
    log: Path


class Ended(NamedTuple):
    """How a process ended: its exit code, negative for a signal, and the seconds that it took."""

    code: int
    seconds: float


def run_all(
    jobs: Iterable[T],
    devices: Sequence[str | None],
    begin: Callable[[T], Start],
    end: Callable[[T, Ended], None],
    inherited: int,
) -> None:
    """Runs all jobs, in their order, as many at a time as there are devices.

    Args:
        jobs: what is to be done.
        devices: for each place the CUDA device that its runs see; none leaves what they see as it is.
        begin: says what to start for a job, at the time when it is started.
        end: is told how a job ended.
        inherited: a file descriptor that the processes keep open.

    Raises:
        KeyboardInterrupt: this process was told to stop; the runs have ended.
    """
    waiting, free = deque(jobs), deque(devices)
    running: dict[subprocess.Popen[bytes], tuple[T, str | None, float]] = {}
    with _told_to_stop() as told:
        try:
            while waiting or running:
                while waiting and free and not told:
                    job, device = waiting.popleft(), free.popleft()
                    process = _start(begin(job), device, inherited)
                    running[process] = job, device, time.monotonic()
                if told:
                    raise KeyboardInterrupt
                for process in [process for process in running if process.poll() is not None]:
                    job, device, start = running.pop(process)
                    free.append(device)
                    end(job, Ended(process.returncode, time.monotonic() - start))
                time.sleep(PAUSE)
        finally:
            _stop(running, told)


def error_line(log: Path, code: int) -> str:
    """Why a run failed: the line of its error, or the last one that it wrote."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("lmkit: error:")] or lines
    return told[-1].removeprefix("lmkit: error: ")[:500] if told else f"exit code {code}"


def _start(start: Start, device: str | None, inherited: int) -> subprocess.Popen[bytes]:
    """A process in a group of its own, which Ctrl-C reaches through this process only."""
    environment = dict(os.environ) if device is None else {**os.environ, "CUDA_VISIBLE_DEVICES": device}
    with start.log.open("wb") as log:
        return subprocess.Popen(
            start.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=(inherited,),
            start_new_session=True,
        )


def _stop(processes: Iterable[subprocess.Popen[bytes]], told: Sequence[int]) -> None:
    """Interrupts processes, and kills those that have not ended in time, or at once if told to stop again."""
    left, times = list(processes), len(told)
    for process in left:
        _signal(process, signal.SIGINT)
    deadline = time.monotonic() + GRACE
    while any(process.poll() is None for process in left) and time.monotonic() < deadline and len(told) <= times:
        time.sleep(PAUSE)
    for process in left:
        if process.poll() is None:
            _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # of a group that has just ended
        os.killpg(process.pid, number)


@contextmanager
def _told_to_stop() -> Iterator[list[int]]:
    """Has this process note a closed terminal and a request to end as it notes Ctrl-C; gives the list of those noted.

    Noted and no more, for an exception between the start of a run and its entry among the running would leave it alone.
    What it was started to ignore, in the background or by nohup, it goes on to ignore, but by a handler: what is
    ignored outright is ignored by the processes that it starts too, which could then not be interrupted.
    """

    told: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        told.append(number)

    def ignore(number: int, frame: FrameType | None) -> None:
        pass

    if threading.current_thread() is not threading.main_thread():  # which alone may handle signals
        yield told
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        signal.signal(number, ignore if handler is signal.SIG_IGN else note)
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
