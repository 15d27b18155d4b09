"""A loop is shown when it is long, in the way that fits the place where it is shown."""

import io
import logging

import pytest

from synthome.progress import duration, progress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, logger="synthome.progress")
    return lambda: [record.getMessage().strip() for record in caplog.records]


def run(n, seconds_each, clock, **kwargs):
    for _ in progress(n, "fitting", stream=io.StringIO(), clock=clock, **kwargs):
        clock.now += seconds_each


def test_a_short_loop_says_nothing(lines):
    run(10, 0.19, Clock())
    assert lines() == []


def test_a_loop_of_some_seconds_says_one_line_at_its_end(lines):
    run(10, 0.3, Clock())
    assert lines() == ["fitting: 10 of 10 in 3.0 s"]


def test_a_long_loop_speaks_at_most_every_ten_seconds(lines):
    run(80, 0.5, Clock())
    assert lines() == [
        "fitting: 20 of 80, 10.0 s, about 30.0 s left",
        "fitting: 40 of 80, 20.0 s, about 20.0 s left",
        "fitting: 60 of 80, 30.0 s, about 10.0 s left",
        "fitting: 80 of 80 in 40.0 s",
    ]


def test_a_loop_without_a_known_length_counts(lines):
    clock = Clock()
    for _ in progress(iter("abc"), "reading", stream=io.StringIO(), clock=clock):
        clock.now += 7.0
    assert lines() == ["reading: 2, 14.0 s", "reading: 3 in 21.0 s"]


def test_the_total_can_be_told(lines):
    clock = Clock()
    for _ in progress(iter("ab"), "reading", total=2, stream=io.StringIO(), clock=clock):
        clock.now += 7.0
    assert lines() == ["reading: 2 of 2 in 14.0 s"]


def test_the_note_stands_behind_the_count(lines):
    clock = Clock()
    with progress(4, "fitting", stream=io.StringIO(), clock=clock) as epochs:
        for epoch in epochs:
            clock.now += 6.0
            epochs.note(f"loss {1 / (epoch + 1):.2f}")
    assert lines() == [
        "fitting: 2 of 4, 12.0 s, about 12.0 s left (loss 0.50)",
        "fitting: 4 of 4 in 24.0 s (loss 0.25)",
    ]


def test_early_stopping_still_ends_with_a_line(lines):
    clock = Clock()
    with progress(100, "fitting", stream=io.StringIO(), clock=clock) as epochs:
        for epoch in epochs:
            clock.now += 1.0
            if epoch == 4:
                break
    assert lines() == ["fitting: 4 of 100 in 5.0 s"]


def test_steps_can_be_counted_by_hand(lines):
    clock = Clock()
    with progress(10, "downloading", stream=io.StringIO(), clock=clock) as bar:
        for _ in range(2):
            clock.now += 5.5
            bar.advance(5)
    assert lines() == ["downloading: 10 of 10 in 11.0 s"]


def test_a_failing_loop_leaves_the_last_word_to_the_error(lines):
    clock = Clock()

    def fail():
        with progress(9, "fitting", stream=io.StringIO(), clock=clock) as epochs:
            for _ in epochs:
                clock.now += 5.0
                raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fail()
    assert lines() == []


def test_items_pass_through_in_order():
    assert list(progress("abc", "x", stream=io.StringIO())) == ["a", "b", "c"]
    assert list(progress(3, "x", stream=io.StringIO())) == [0, 1, 2]


def test_a_terminal_sees_a_bar_that_vanishes(monkeypatch, lines):
    """Its last act is to erase itself, so that the page stays clean; no line goes to the log."""
    monkeypatch.setattr("synthome.progress.QUIET_SECONDS", 0.0)
    monkeypatch.setenv("COLUMNS", "80")
    terminal = Terminal()
    with progress(3, "fitting", stream=terminal) as epochs:
        for _ in epochs:
            epochs.note("loss 0.5")
        epochs._bar.refresh()
    shown = terminal.getvalue()
    assert "fitting" in shown
    assert "3/3" in shown
    assert "loss 0.5" in shown
    assert shown.rpartition("\r")[0].rpartition("\r")[2].strip() == ""
    assert lines() == []


def test_a_short_loop_draws_no_bar():
    terminal = Terminal()
    list(progress(50, "fitting", stream=terminal))
    assert terminal.getvalue().strip() == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (12.34, "12.3 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.6, "1 h 00 min"),
        (3720, "1 h 02 min"),
    ],
)
def test_durations_are_for_people(seconds, text):
    assert duration(seconds) == text
