"""Functions called in a fresh process: what comes back when they fail."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from search.disk import is_full
from search.results.fresh import FreshProcess, ProcessFailed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]
ROOT = Path(__file__).parents[3]


def test_what_a_function_returns_comes_back() -> None:
    with FreshProcess("string:capwords") as process:
        assert process.call(s="two words") == "Two Words"


def test_what_a_function_raises_is_named_in_one_line_and_shown_in_whole() -> None:
    with FreshProcess("string:capwords") as process, pytest.raises(ProcessFailed) as caught:
        process.call(s=3)
    assert caught.value.reason == "AttributeError: 'int' object has no attribute 'split'"
    assert "Traceback" in str(caught.value)


def test_a_full_disk_is_no_failure_of_the_function() -> None:
    full = pytest.raises(OSError, match="No space left on device")
    with FreshProcess("shutil:copyfile") as process, full as caught:
        process.call(src=__file__, dst="/dev/full")
    assert is_full(caught.value)


def test_a_process_that_aborts_is_told_by_its_signal() -> None:
    with FreshProcess("os:abort") as process, pytest.raises(ProcessFailed) as caught:
        process.call()
    assert caught.value.reason == "its process ended with -6"


def test_a_function_that_takes_too_long_is_ended() -> None:
    late = pytest.raises(TimeoutError, match=r"signal:pause took longer than 0\.1 s")
    with FreshProcess("signal:pause") as process, late:
        process.ask()
        process.answer(0.1)
    assert process._code == -signal.SIGKILL


def test_settings_reach_the_process() -> None:
    with FreshProcess("os:getenv", KERAS_BACKEND="none") as process:
        assert process.call(key="KERAS_BACKEND") == "none"


def test_the_environment_is_that_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("first", "second"):
        monkeypatch.setenv("LOOKBACK_TEST", value)
        with FreshProcess("os:getenv") as process:
            assert process.call(key="LOOKBACK_TEST") == value


def test_ctrl_c_on_a_terminal_does_not_reach_it() -> None:
    # In a program of its own: multiprocessing lets signals through as it starts its first process.
    code = """
import os, pathlib, re, signal
from search.results.fresh import FreshProcess
with FreshProcess("string:capwords") as process:
    pid = process._process.pid
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    blocked = int(re.search(r"SigBlk:\\s+(\\w+)", status)[1], 16)
    assert blocked & 1 << signal.SIGINT - 1
    os.kill(pid, signal.SIGINT)
    assert process.call(s="two words") == "Two Words"
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
