"""One bar over the stages of a compression: the time left, and nothing else on the terminal."""

from __future__ import annotations

import io
import logging
import sys
from pathlib import Path

import pytest

from utils.chains.compress.one_bar import LOG, TimeLeft, one_bar
from utils.command.progress import progress_bar


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_the_time_left_is_what_was_expected_until_a_stage_tells() -> None:
    clock = Clock()
    times = TimeLeft(clock)
    assert times.left_s() is None
    times.expect("look", 10)
    times.expect("pull", 100, trains=True)
    times.expect("tune", 200, trains=True)
    times.begin("look")
    clock.seconds = 4
    assert times.left_s() == 306
    times.begin("pull")  # what came before it is over, or was left out
    times.tell(0.5)  # done by the run before; nothing is known of the pace yet
    assert times.left_s() == 50 + 200
    clock.seconds = 54
    times.tell(0.75)  # 50 s for a quarter: twice as slow as expected, and so will be what follows
    assert times.left_s() == 50 + 400
    assert times.done() == pytest.approx(54 / 504)
    clock.seconds = 64
    assert times.left_s() == 40 + 400
    times.end()
    assert times.left_s() == 400
    times.forget()
    assert times.left_s() is None
    for number in (1, 2, 3):
        times.expect(f"trial {number}", 10)
    for took_s, left_s in ((30.0, 60.0), (0.1, 30.0)):  # the second was done before a kill
        times.begin("trial 1" if took_s > 1 else "trial 2")
        clock.seconds += took_s
        times.end()
        assert times.left_s() == left_s


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


def work() -> None:
    print("a table of an inner command")
    logging.getLogger("train").info("epoch 1/2")
    logging.getLogger("train").warning("odd labels")
    for epoch in range(2):
        for _ in progress_bar(range(3), f"epoch {epoch + 1}/2", part=(epoch, 2)):
            pass


def test_on_a_terminal_there_is_one_bar_and_the_lines_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr("utils.chains.compress.one_bar._REDRAW_S", -1.0)
    handler = logging.StreamHandler(screen)
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    logging.getLogger().setLevel(logging.INFO)
    with one_bar(tmp_path) as bar:
        bar.times.expect("pull", 60, trains=True)
        with bar.stage("pull"):
            work()
            work()
        bar.say("decided")
    shown, said = screen.getvalue(), capsys.readouterr().out
    assert "pull: " in shown and "left in all" in shown
    assert "epoch 1/2" not in shown and "epoch" not in said and "a table" not in said
    assert said.splitlines() == ["WARNING: odd labels", "decided"]  # once
    log = Path(tmp_path, LOG).read_text()
    assert "a table of an inner command" in log and "INFO: epoch 1/2" in log
    assert logging.getLogger().handlers == [handler]
    # Control: outside of it, log lines and bars are shown as ever.
    work()
    assert "epoch 1/2" in screen.getvalue()[len(shown) :]


def test_on_no_terminal_there_is_a_line_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with one_bar(tmp_path) as bar:
        bar.times.expect("short", 3)
        bar.times.expect("pull", 600, trains=True)
        with bar.stage("short"):
            work()
        with bar.stage("pull"):
            work()
            monkeypatch.setattr("utils.chains.compress.one_bar.SILENCE_S", 0.0)
            work()
    lines = capsys.readouterr().err.splitlines()
    assert "short" not in lines[0] and "pull, 10 min left in all" in lines[0]
    assert len(lines) == 1 + 6 and "pull, epoch 1/2, " in lines[1]
