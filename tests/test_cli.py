"""`kedro run` speaks to a person: a clean page, one message for a failure, a shell's exit codes."""

import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner


@dataclass(frozen=True)
class Done:
    code: int
    page: str
    error: str


@pytest.fixture
def kedro_run(tiny_project):
    """Type `kedro run ...` in the project, in this process."""
    from kedro.framework.startup import bootstrap_project

    from synthome import cli

    def typed(*arguments):
        metadata = bootstrap_project(tiny_project.path)
        result = CliRunner().invoke(cli.run, list(arguments), obj=metadata)
        return Done(result.exit_code, result.stdout, result.stderr)

    return typed


def test_a_clean_run_prints_a_clean_page(kedro_run, tiny_project):
    done = kedro_run("--pipeline=alpha")
    assert done.code == 0
    assert done.error == ""  # no word about --pipeline, which Kedro would rather not have
    assert len(done.page.splitlines()) == 6
    assert (tiny_project.path / "data/alpha/report.html").exists()


@pytest.mark.parametrize("option", ["--pipeline=alpha", "--pipelines=alpha", "-p alpha"])
def test_all_spellings_of_the_pipeline_do_the_same(kedro_run, option):
    done = kedro_run(*option.split())
    assert (done.code, done.error) == (0, "")
    assert "alpha.score" in done.page


@pytest.mark.parametrize(
    ("arguments", "heading", "message"),
    [
        (
            ["--pipeline=alpha", "--params=mode=input_error"],
            "Error in node alpha.train",
            "The column 'x' is not there. Name one that is.\n"
            "To go on from there, add --from-nodes=alpha.train",
        ),
        (
            ["--pipeline=alpha", "--params=mode=disk_full"],
            "Error in node alpha.train",
            "The disk is full (/data/x.h5ad). Earlier outputs are as they were; free some space, "
            "or put the data folder on a larger disk, and run again.\n"
            "To go on from there, add --from-nodes=alpha.train",
        ),
        (
            ["--pipeline=alfa"],
            "Error",
            "There is no pipeline 'alfa'. Did you mean 'alpha'? There are: __default__, alpha, "
            "both, scoring.",
        ),
        (
            ["--pipeline=alpha", "--params=alpha.model.n_latnt=3"],
            "Error",
            "Unknown parameter 'alpha.model.n_latnt'. Did you mean 'n_latent'? There are: "
            "n_latent, learning_rate, seed.",
        ),
        (
            ["--pipeline=alpha", "--params=alpha.model.n_latent=0,alpha.model.seed=x"],
            "Error",
            "Parameter 'alpha.model.n_latent' is 0: input should be greater than 0.\n"
            "Parameter 'alpha.model.seed' is 'x': input should be a valid integer, unable to "
            "parse string as an integer.",
        ),
        (
            ["--pipeline=scoring"],
            "Error while loading alpha.weights (node alpha.score)",
            "alpha.weights is not there yet.\nalpha.weights is made by: kedro run --pipeline=alpha",
        ),
        (["--nodes=nope"], "Error", "Pipeline does not contain nodes named ['nope']."),
    ],
)
def test_a_failure_that_the_user_can_mend_is_one_message(
    kedro_run, tiny_project, arguments, heading, message
):
    done = kedro_run(*arguments)
    assert done.code == 1
    assert done.error.splitlines() == [heading, *(f"  {line}" for line in message.split("\n"))]
    assert "Traceback" not in done.page
    assert not (tiny_project.path / "logs").exists()


def test_unknown_names_offer_the_nearest(kedro_run):
    for argument, hint in {"--env=locl": "'local'", "--params=foldr=x": "'folder'"}.items():
        done = kedro_run("--pipeline=alpha", argument)
        assert done.code == 1
        assert f"Did you mean {hint}?" in done.error


def test_a_parameter_that_must_be_given_is_named(kedro_run, tiny_project):
    tiny_project.write("conf/cohort/parameters.yml", "label: ${runtime_params:label}\n")
    done = kedro_run("--env=cohort")
    assert done.code == 1
    assert done.error == (
        "Error\n  This environment needs the parameter 'label': add --params=label=VALUE.\n"
    )


def test_a_broken_file_of_the_configuration_is_named(kedro_run, tiny_project):
    tiny_project.write("conf/base/parameters.yml", "alpha: {model: [\n")
    done = kedro_run("--pipeline=alpha")
    assert done.code == 1
    assert "conf/base/parameters.yml" in done.error
    assert "Traceback" not in done.error


def test_a_fault_of_the_program_keeps_its_traceback_in_a_file(kedro_run, tiny_project):
    done = kedro_run("--pipeline=alpha", "--params=mode=bug")
    assert done.code == 1
    heading, last_line, where, resume = done.error.splitlines()
    assert heading == "Unexpected error in node alpha.train"
    assert re.match(r"  KeyError: 'nothing' \(src/tiny_\w+/pipeline_registry.py, line", last_line)
    assert resume == "  To go on from there, add --from-nodes=alpha.train"
    (file,) = (tiny_project.path / "logs").iterdir()
    assert f"logs/{file.name}; --verbose prints it here" in where
    assert "Traceback (most recent call last)" in file.read_text()


@pytest.mark.filterwarnings("ignore:Accessing the 'model_fields'")  # Kedro 1.7 does so
@pytest.mark.parametrize("how", ["--verbose", "SYNTHOME_DEBUG"])
def test_verbose_raises_the_fault_and_shows_the_log_of_kedro(kedro_run, monkeypatch, how):
    if how == "SYNTHOME_DEBUG":
        monkeypatch.setenv(how, "1")
    arguments = [how] if how.startswith("--") else []
    from kedro.framework.startup import bootstrap_project

    from synthome import cli

    result = CliRunner().invoke(
        cli.run,
        ["--pipeline=alpha", "--params=mode=bug", *arguments],
        obj=bootstrap_project(Path.cwd()),
    )
    assert isinstance(result.exception, KeyError)
    assert "Loading" in result.stdout


@pytest.mark.parametrize(
    ("mode", "code", "word"), [("sigint", 130, "Interrupted"), ("sigterm", 143, "Terminated")]
)
def test_an_interrupt_is_one_line_and_leaves_what_was_finished(
    kedro_run, tiny_project, mode, code, word
):
    before = signal.getsignal(signal.SIGTERM)
    kedro_run("--pipeline=alpha")
    report = (tiny_project.path / "data/alpha/report.html").read_bytes()
    done = kedro_run("--pipeline=alpha", f"--params=mode={mode}")
    assert done.code == code
    assert done.error == (
        f"{word} in node alpha.train. Outputs that were finished are kept, and earlier versions "
        "are as they were.\n"
    )
    assert (tiny_project.path / "data/alpha/report.html").read_bytes() == report
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_wrong_option_is_told_as_kedro_tells_it(kedro_run):
    done = kedro_run("--pipelin=alpha")
    assert done.code == 2
    assert "No such option" in done.error


def test_the_options_are_those_of_kedro_and_verbose():
    from kedro.framework.cli.project import run as theirs

    from synthome import cli

    names = [option.name for option in cli.run.params]
    assert names == [*(option.name for option in theirs.params), "verbose"]


# In processes of their own: what only a whole command can show.


def test_the_command_is_found_by_kedro(tiny_project):
    """Kedro prefers the project's command; nothing but our lines reaches the screen."""
    done = tiny_project.command("run", "--pipeline=alpha")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split(" ...")[0] for line in lines[:3]] == [
        "[1/3] prepare", "[2/3] alpha.train", "[3/3] alpha.score",
    ]  # fmt: skip
    assert lines[3:5] == ["Written: data/alpha/metrics.json", "Written: data/alpha/report.html"]
    assert len(lines) == 6


def test_the_page_is_the_same_from_a_folder_below_the_project(tiny_project):
    """Kedro looks for conf/logging.yml in the current folder, and falls back to its own."""
    folder = tiny_project.path / "notebooks"
    folder.mkdir()
    done = tiny_project.command("run", "--pipeline=alpha", "--params=mode=bug", cwd=folder)
    assert done.returncode == 1
    assert "Kedro project" not in done.stdout
    assert done.stderr.startswith("Unexpected error in node alpha.train\n")
    assert "Traceback" not in done.stdout + done.stderr
    assert "../logs/error-" in done.stderr


def test_other_commands_import_nothing_heavy(tiny_project):
    """What keeps `kedro registry list` and `kedro run --help` quick."""
    script = """
        import sys
        from kedro.framework.cli.cli import KedroCLI
        from pathlib import Path
        KedroCLI(Path.cwd()).main(["run", "--help"], standalone_mode=False)
        heavy = {"mlflow", "torch", "pandas", "numpy", "anndata", "scanpy", "sklearn", "matplotlib"}
        print("heavy:", sorted(heavy & set(sys.modules)))
    """
    path = tiny_project.write("script.py", script)
    done = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, check=True, timeout=60
    )
    assert "--verbose" in done.stdout
    assert done.stdout.splitlines()[-1] == "heavy: []"
