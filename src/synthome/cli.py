"""``kedro run`` with an error page that a person can act on.

The options and the work are Kedro's own. What is added: ``--verbose``, a plain page, one message
instead of a traceback when the user can mend the failure, the exit codes of a shell (1 failed,
130 Ctrl-C, 143 terminated), and no complaint about ``--pipeline``, which our documentation uses.
"""

import os
import re
import shlex
import shutil
import signal
import sys
import textwrap
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

import click
from kedro.framework.cli.utils import CONTEXT_SETTINGS, LazyGroup

# Kedro imports this module for every command; what `kedro run` alone needs is imported by it.

DEBUG = "SYNTHOME_DEBUG"  # environment variable, the same as --verbose
LOG_FOLDER = "logs"
ABSENT = re.compile("does not exist|[Nn]o such file|not find any versions|is not there")


@click.group(
    context_settings=CONTEXT_SETTINGS,
    name="kedro",
    cls=LazyGroup,
    lazy_subcommands={"run": "synthome.cli.run"},
)
def cli() -> None:
    """Commands of this project."""


def __getattr__(name: str) -> Any:
    """Make the command ``run`` when Kedro asks for it."""
    if name == "run":
        return _run_command()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _run_command() -> click.Command:
    theirs: Any = import_module("kedro.framework.cli.project").run
    verbose = click.Option(
        ["--verbose", "-v"], is_flag=True, help="Show Kedro's log, and tracebacks in full."
    )
    return click.Command("run", callback=_run, params=[*theirs.params, verbose], help=theirs.help)


def _run(*, verbose: bool, **options: Any) -> Any:
    """Run Kedro's command and tell how it ended."""
    from synthome.console.page import page, show_status
    from synthome.errors import PartlyFailed

    metadata = click.get_current_context().obj
    project = Path(metadata.project_path) if metadata else Path.cwd()
    verbose = verbose or os.environ.get(DEBUG, "") not in {"", "0"}
    if options.get("pipeline") and not options.get("pipelines"):
        options |= {"pipelines": [options["pipeline"]], "pipeline": None}
    _use_project_logging(project)
    theirs: Any = import_module("kedro.framework.cli.project").run.callback
    with page(verbose=verbose), _exit_handlers_on(signal.SIGTERM):
        try:
            return theirs(**options)
        except click.exceptions.ClickException:
            raise
        except (KeyboardInterrupt, SystemExit) as stop:
            code = _exit_code(stop)
            show_status("")
            _tell_interrupted(code)
        except PartlyFailed as told:  # one line: everything was written, the page included
            code = 1
            click.secho(str(told), fg="red", err=True)
        except Exception as error:
            if verbose:
                raise
            code = 1
            show_status("")
            _tell_failed(error, options, project)
    sys.exit(code)


@contextmanager
def _exit_handlers_on(number: int) -> Iterator[None]:
    """Let a signal end the process like an exception does: files are closed, handlers run."""

    def leave(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
        sys.exit(128 + signum)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, leave)
    try:
        yield
    finally:
        signal.signal(number, before)


def _use_project_logging(project: Path) -> None:
    """Kedro looks for conf/logging.yml below the current folder; the project may be above it."""
    config = project / "conf" / "logging.yml"
    if Path.cwd() == project or "KEDRO_LOGGING_CONFIG" in os.environ or not config.is_file():
        return
    import yaml
    from kedro.framework.project import configure_logging

    configure_logging(yaml.safe_load(config.read_text(encoding="utf-8")))


def _exit_code(stop: BaseException) -> int:
    if isinstance(stop, SystemExit):
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    return 128 + signal.SIGINT


def _tell_interrupted(code: int) -> None:
    how = {130: "Interrupted", 143: "Terminated"}.get(code)
    if how:
        place = _place()
        click.echo(
            f"{how}{f' {place}' if place else ''}. Outputs that were finished are kept, and earlier"
            " versions are as they were.",
            err=True,
        )


def _place(error: BaseException | None = None) -> str:
    """Where the run was: from the error, or from the hook when nothing carried it here."""
    from kedro.framework.project import settings

    from synthome.hooks.lines import PLACE

    for note in getattr(error, "__notes__", []):
        if note.startswith(PLACE):
            return note.removeprefix(PLACE).rstrip(".")
    return next((hook.place for hook in settings.HOOKS if hasattr(hook, "place")), "")


def _tell_failed(error: Exception, options: Mapping[str, Any], project: Path) -> None:
    """Print the error page: a heading with the place, the message, and what to do."""
    from synthome.console.failures import explain, one_line, root_cause, write_traceback
    from synthome.tracking.describe import command_line

    place = _place(error)
    message = explain(error) or _explain_kedro(error, options)
    if message is not None:
        advice = [*_make_it_first(error, message), *_resume(error)]
        _print_block(f"Error{f' {place}' if place else ''}", [message, *advice])
        return
    file = write_traceback(error, project / LOG_FOLDER, command_line(sys.argv))
    where = f"The whole traceback is in {_relative(file)}" if file else "No traceback was written"
    _print_block(
        f"Unexpected error{f' {place}' if place else ''}",
        [one_line(root_cause(error)), f"{where}; --verbose prints it here.", *_resume(error)],
    )


def _resume(error: Exception) -> list[str]:
    from synthome.hooks.lines import RESUME

    return [note for note in getattr(error, "__notes__", []) if note.startswith(RESUME)]


def _print_block(heading: str, paragraphs: Sequence[str]) -> None:
    width = min(shutil.get_terminal_size().columns, 100) - 2
    click.secho(heading, fg="red", bold=True, err=True)
    for paragraph in paragraphs:
        for line in paragraph.splitlines():
            wrapped = (
                textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)
                if sys.stderr.isatty()
                else [line]
            )
            click.echo(textwrap.indent("\n".join(wrapped) or "", "  "), err=True)


def _relative(path: Path) -> str:
    return os.path.relpath(path)


def _explain_kedro(error: Exception, options: Mapping[str, Any]) -> str | None:
    """Messages for what Kedro itself refuses."""
    from kedro.io.core import DatasetError, VersionNotFoundError
    from kedro.validation import ParameterValidationError

    from synthome.console.failures import causes, root_cause
    from synthome.console.parameters import nearest

    names: Sequence[str] = options.get("pipelines") or []
    known = _registered_pipelines() if names else []
    if known and (missing := [name for name in names if name not in known]):
        return (
            f"There is no pipeline {missing[0]!r}.{nearest(missing[0], known)}"
            f" There are: {', '.join(known)}."
        )
    if any(isinstance(cause, ParameterValidationError) for cause in causes(error)):
        return _explain_parameters(error, options)
    root, words = root_cause(error), _place(error).split()
    if words[:2] == ["while", "loading"] and isinstance(
        root, (VersionNotFoundError, FileNotFoundError)
    ):
        name = getattr(root, "filename", None)
        file = f" ({name})" if name else ""
        return f"{words[2]} is not there yet{file}."
    frames = traceback.extract_tb(root.__traceback__)
    if isinstance(root, (ValueError, DatasetError)) and frames and _is_kedro(frames[-1].filename):
        return str(root)  # a name or an entry that Kedro itself refuses, in words
    return None


def _is_kedro(filename: str) -> bool:
    return "kedro" in Path(filename).parts


def _registered_pipelines() -> list[str]:
    from kedro.framework.project import pipelines

    try:
        pipelines.set_requested(None)
        return sorted(pipelines.keys())
    except Exception:  # the registry itself is what failed
        return []


def _explain_parameters(error: Exception, options: Mapping[str, Any]) -> str:
    """Check the parameters again, for Kedro keeps only the text of what pydantic said."""
    from kedro.framework.project import settings
    from kedro.validation.utils import resolve_nested_dict_path
    from pydantic import BaseModel, ValidationError

    from synthome.console.failures import validation_problems
    from synthome.hooks.checks import parameter_classes

    session = settings.SESSION_CLASS.create(
        env=options.get("env"),
        conf_source=options.get("conf_source"),
        runtime_params=options.get("params"),
    )
    parameters = session.load_context().config_loader["parameters"]
    problems: list[str] = []
    for path, model in parameter_classes(options.get("pipelines")).items():
        value = resolve_nested_dict_path(parameters, path)
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            continue
        try:
            model.model_validate(value)
        except ValidationError as invalid:
            problems += validation_problems(invalid, path, value, model)
    return "\n".join(problems) or str(error)


def _make_it_first(error: Exception, message: str) -> list[str]:
    """Name the pipeline that makes a dataset which is not there yet."""
    from kedro.framework.project import pipelines

    words = _place(error).split()
    if words[:2] != ["while", "loading"] or not ABSENT.search(message):
        return []
    _registered_pipelines()
    makers = [name for name, made in pipelines.items() if words[2] in made.all_outputs()]
    makers.sort(key=lambda name: (name == "__default__", len(pipelines[name].nodes)))
    if not makers:
        return []
    return [f"{words[2]} is made by: kedro run --pipeline={shlex.quote(makers[0])}"]
