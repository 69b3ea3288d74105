"""Processes: as many at once as there are devices, each with its own, all of them ended when the runner is stopped."""

import os
import signal
import sys
import threading
import time
from itertools import pairwise

import pytest

from lmkit.ablation import runner
from lmkit.ablation.folder import Folder
from lmkit.ablation.runner import Start, error_line, run_all
from lmkit.errors import UserError


@pytest.fixture
def pipe():
    """A file descriptor to be inherited."""
    ends = os.pipe()
    yield ends[0]
    for end in ends:
        os.close(end)


def python(tmp_path, code):
    def begin(job):
        return Start([sys.executable, "-S", "-c", code, str(job)], tmp_path / f"{job}.txt")

    return begin


def test_each_device_has_one_job_at_a_time(tmp_path, pipe):
    code = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES'], time.time()); time.sleep(.2); print(time.time())"
    codes = {}
    run_all(range(5), ["3", "7"], python(tmp_path, code), lambda job, ended: codes.update({job: ended.code}), pipe)
    assert codes == dict.fromkeys(range(5), 0)
    spans = {}
    for job in range(5):
        device, start, end = (tmp_path / f"{job}.txt").read_text().split()
        spans.setdefault(device, []).append((float(start), float(end)))
    assert set(spans) == {"3", "7"}
    for times in spans.values():
        times.sort()
        assert all(end <= start for (_, end), (start, _) in pairwise(times))


def test_a_failed_job_does_not_stop_the_others(tmp_path, pipe, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    code = "import sys; print('first'); sys.exit('lmkit: error: no luck' if sys.argv[1] == '1' else 0)"
    codes = {}
    run_all(range(3), [None], python(tmp_path, code), lambda job, ended: codes.update({job: ended.code}), pipe)
    assert codes == {0: 0, 1: 1, 2: 0}
    assert error_line(tmp_path / "1.txt", 1) == "no luck"


def test_why_a_run_failed(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("Traceback\n  there\nZeroDivisionError: oh\n\n")
    assert error_line(log, 1) == "ZeroDivisionError: oh"
    assert error_line(log, -9) == "killed by SIGKILL"
    log.write_text("")
    assert error_line(log, 3) == "exit code 3"


@pytest.fixture
def listening():
    """Signals are answered as in a terminal, even if the tests were started in the background; gives how to set one."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield signal.signal
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("background", [False, True])
def test_when_it_is_stopped_its_jobs_are_interrupted(tmp_path, pipe, listening, number, background):
    if background and number != signal.SIGTERM:
        pytest.skip("ignored there")
    if background:
        listening(signal.SIGINT, signal.SIG_IGN)
    code = (
        "import sys, time\n"
        "try: print('up', flush=True); time.sleep(30)\n"
        "except KeyboardInterrupt: open(sys.argv[1] + '.stopped', 'w')"
    )
    job = tmp_path / "job"

    def stop():
        while not (job.with_suffix(".txt").is_file() and job.with_suffix(".txt").read_text()):
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=stop).start()
    with pytest.raises(KeyboardInterrupt):
        run_all([job], [None], python(tmp_path, code), lambda *_: None, pipe)
    assert job.with_suffix(".stopped").is_file()


def test_a_run_is_not_left_alone_if_it_is_stopped_while_it_is_started(tmp_path, pipe, monkeypatch):
    code = "import time\ntry: print('up', flush=True); time.sleep(30)\nexcept KeyboardInterrupt: print('stopped')"
    start, log = runner._start, tmp_path / "0.txt"

    def told_meanwhile(*arguments):
        process = start(*arguments)
        while not log.read_text():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        return process

    monkeypatch.setattr(runner, "_start", told_meanwhile)
    with pytest.raises(KeyboardInterrupt):
        run_all([0], [None], python(tmp_path, code), lambda *_: None, pipe)
    assert log.read_text() == "up\nstopped\n"


def test_a_job_that_does_not_answer_is_killed(tmp_path, pipe, listening, monkeypatch):
    monkeypatch.setattr(runner, "GRACE", 0.1)
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(30)"
    )
    log = tmp_path / "0.txt"

    def stop():
        while not (log.is_file() and log.read_text()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=stop).start()
    with pytest.raises(KeyboardInterrupt):
        run_all([0], [None], python(tmp_path, code), lambda *_: None, pipe)
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.read_text()), 0)


def test_a_folder_is_locked_as_long_as_a_run_of_it_lives(tmp_path):
    first, second = Folder(tmp_path / "study"), Folder(tmp_path / "study")
    lock = first.take()
    with pytest.raises(UserError, match="is at work in"):
        second.take()
    process = runner._start(python(tmp_path, "import time; time.sleep(30)")(0), None, lock)
    (tmp_path / "study/ablation.json").touch()
    first.release()
    with pytest.raises(UserError, match="a run that one left behind"):
        second.take()
    process.kill()
    process.wait()
    second.take()
    second.release()


def test_a_folder_made_in_vain_goes_again(tmp_path):
    folder = Folder(tmp_path / "a/study")
    folder.take()
    folder.release()
    assert not (tmp_path / "a").exists()
    (tmp_path / "study").mkdir()
    kept = Folder(tmp_path / "study")
    kept.take()
    kept.release()
    assert list(tmp_path.iterdir()) == [tmp_path / "study"]
    assert list((tmp_path / "study").iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"arms": []}', '{"arms": [{"arm": 3}], "equal": "flops"}'])
def test_a_damaged_plan_is_told_in_a_line(tmp_path, text):
    (tmp_path / "ablation.json").write_text(text)
    with pytest.raises(UserError, match=r"ablation\.json cannot be read .*--out"):
        Folder(tmp_path).plan()


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds no ablation"):
        Folder(tmp_path).take()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(UserError, match="holds no ablation"):
        Folder(tmp_path).plan()
    with pytest.raises(UserError, match="holds no ablation"):
        Folder(tmp_path / "notes.txt").plan()
    assert Folder(tmp_path / "new").plan() is None


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    folder = Folder(tmp_path)
    folder.write("a.txt", lambda path: path.write_text("old"))

    def half(path):
        path.write_text("ha")
        raise OSError

    with pytest.raises(OSError):
        folder.write("a.txt", half)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"
