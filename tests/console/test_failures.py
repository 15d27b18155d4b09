"""What the user can mend is told in words; what is our fault keeps its traceback, in a file."""

import errno
from typing import Any

import pytest
from omegaconf.errors import InterpolationResolutionError
from pydantic import PositiveInt, ValidationError, model_validator

from synthome.config import Config
from synthome.console.failures import (
    causes,
    explain,
    one_line,
    root_cause,
    validation_problems,
    write_traceback,
)
from synthome.errors import InputError


class Inner(Config):
    n_latent: PositiveInt = 8


class Options(Config):
    n_hidden: PositiveInt = 8
    drop_path: float = 0.1


class Outer(Config):
    inner: Inner = Inner()
    rate: float = 0.1
    name: str
    chosen: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _not_forbidden(self):
        if self.name == "bad":
            raise ValueError("bad is not a name")
        if self.chosen:
            Options.model_validate(self.chosen["options"])
        return self


def raised(action):
    try:
        action()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def invalid(**values):
    return raised(lambda: Outer.model_validate(values))


def chained(first, *others, explicit=True):
    """Raise each exception while the one before it is handled."""

    def fail():
        raise first

    for other in others:

        def fail(inner=fail, other=other):
            try:
                inner()
            except Exception as error:
                if explicit:
                    raise other from error
                raise other  # noqa: B904

    return raised(fail)


@pytest.mark.parametrize("explicit", [True, False])
def test_an_input_error_is_found_wherever_it_hides(explicit):
    """Kedro wraps what a dataset raises, sometimes twice."""
    error = chained(InputError("what, where"), OSError("x"), RuntimeError("y"), explicit=explicit)
    assert explain(error) == "what, where"
    assert str(root_cause(error)) == "what, where"


def test_a_suppressed_context_is_not_looked_at():
    def fail():
        try:
            raise InputError("handled")
        except InputError:
            raise KeyError("a fault") from None

    assert explain(raised(fail)) is None


def test_a_circle_of_causes_ends():
    first, second = KeyError("a"), KeyError("b")
    first.__cause__, second.__cause__ = second, first
    assert list(causes(first)) == [first, second]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space", "/d/x.h5ad"), ["disk is full", "/d/x.h5ad", "Earlier"]),
        (OSError(errno.EDQUOT, "Quota"), ["quota is used up"]),
        (OSError(errno.EROFS, "ro", "/d"), ["read-only", "/d"]),
        (PermissionError(errno.EACCES, "no", "/d/x"), ["Permission denied", "/d/x"]),
        (MemoryError(), ["memory", "fewer genes"]),
        (
            InterpolationResolutionError("Runtime parameter 'cohort_dir' not found and no default"),
            ["--params=cohort_dir=VALUE"],
        ),
    ],
)
def test_what_the_user_can_mend_is_told_in_words(error, words):
    message = explain(chained(error, RuntimeError("wrapped by Kedro")))
    assert all(word in message for word in words)


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("shape"), OSError(errno.EIO, "io")])
def test_a_fault_of_the_program_has_no_words(error):
    assert explain(error) is None


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (
            {"name": "x", "inner": {"n_latnt": 1}},
            "Unknown parameter 'm.inner.n_latnt'. Did you mean 'n_latent'? There are: n_latent.",
        ),
        (
            {"name": "x", "rte": 1},
            "Unknown parameter 'm.rte'. Did you mean 'rate'? There are: inner, rate, name, chosen.",
        ),
        (
            {"name": "x", "rate": "fast"},
            "Parameter 'm.rate' is 'fast': input should be a valid number, unable to parse string "
            "as a number.",
        ),
        (
            {"name": "x", "inner": {"n_latent": 0}},
            "Parameter 'm.inner.n_latent' is 0: input should be greater than 0.",
        ),
        ({}, "Parameter 'm.name' is missing: give it a value in the parameters file."),
        ({"name": "bad"}, "Parameter 'm' is not valid: bad is not a name."),
        (  # a validator of Outer builds Options, and pydantic tells the place in Options alone
            {"name": "x", "chosen": {"options": {"n_hiden": 1, "drop_path": 0.2}}},
            "Unknown parameter 'm.chosen.options.n_hiden'. Did you mean 'n_hidden'? "
            "There are: n_hidden, drop_path.",
        ),
        (
            {"name": "x", "chosen": {"options": {"n_hidden": 0}}},
            "Parameter 'm.chosen.options.n_hidden' is 0: input should be greater than 0.",
        ),
    ],
)
def test_each_wrong_field_is_one_sentence_with_its_whole_path(values, problem):
    assert validation_problems(invalid(**values), "m", values, Outer) == [problem]


def test_all_wrong_fields_are_told_at_once():
    error = invalid(name="x", rate="fast", inner={"n_latent": -1})
    assert isinstance(error, ValidationError)
    assert len(validation_problems(error, "m", model=Outer)) == 2
    assert explain(error).count("\n") == 1


def test_a_fault_is_one_line_with_the_last_place_in_our_code():
    error = chained(KeyError("nothing"))
    error.add_note("a note of a hook")
    line = one_line(error)
    assert line.startswith("KeyError: 'nothing' (test_failures.py, line ")
    assert line.endswith("in fail)")
    assert one_line(KeyError("x")) == "KeyError: 'x'"


def test_the_whole_traceback_goes_to_a_file(tmp_path):
    error = chained(InputError("inner"), RuntimeError("outer"))
    path = write_traceback(error, tmp_path / "logs", "kedro run")
    text = path.read_text()
    assert text.startswith("kedro run\n\nTraceback")
    assert "InputError: inner" in text
    assert "RuntimeError: outer" in text


def test_a_traceback_that_cannot_be_written_is_no_second_failure(tmp_path):
    (tmp_path / "logs").write_text("a file where the folder should be")
    assert write_traceback(KeyError("x"), tmp_path / "logs", "kedro run") is None
