"""A clean run prints a clean page: plain lines, one line for a warning, no known noise."""

import io
import logging
import sys
import warnings

import pytest

from synthome.console.page import KNOWN_NOISE, PageHandler, page, show_status

LOGGER = logging.getLogger("synthome.test")
ERASE = "\r\033[K"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def paper():
    return io.StringIO()


def test_a_record_is_a_plain_line_however_long(paper):
    """No level, no time, no wrapping at 80 columns."""
    with page(stream=paper):
        LOGGER.info("x" * 300)
    assert paper.getvalue() == "x" * 300 + "\n"


def test_trouble_is_marked(paper):
    with page(stream=paper):
        LOGGER.warning("careful")
        LOGGER.error("wrong")
    assert paper.getvalue() == "warning: careful\nerror: wrong\n"


def test_kedro_and_debug_records_wait_for_verbose(paper):
    logging.getLogger("kedro").setLevel(logging.WARNING)
    with page(stream=paper):
        LOGGER.debug("detail")
        logging.getLogger("kedro.io").info("loading")
    assert paper.getvalue() == ""
    with page(stream=paper, verbose=True):
        LOGGER.debug("detail")
        logging.getLogger("kedro.io").info("loading")
    assert "synthome.test: detail" in paper.getvalue()
    assert "kedro.io: loading" in paper.getvalue()


def test_kedro_does_not_tell_an_error_a_second_time(paper):
    with page(stream=paper):
        logging.getLogger("kedro.pipeline.node").error("Node failed with error ...")
        logging.getLogger("kedro.validation.parameter_validator").error("Parameter ...")
    assert paper.getvalue() == ""


def test_a_warning_is_one_line_that_names_the_package(paper):
    """Ours names the file, theirs the package; no path and no source line."""
    with page(stream=paper):
        warnings.simplefilter("always")
        warnings.warn("mind\nthe gap", UserWarning, stacklevel=1)
        warnings.warn_explicit("theirs", FutureWarning, "/x/site-packages/umap/umap_.py", 3)
    ours, theirs = paper.getvalue().splitlines()
    assert ours.startswith("warning: mind the gap (UserWarning, test_page.py:")
    assert theirs == "warning: theirs (FutureWarning, umap)"


def test_known_noise_is_dropped_unless_verbose(paper):
    def noise():
        warnings.warn(
            "n_jobs value 1 overridden to 1 by setting random_state. Use no seed", stacklevel=1
        )

    with page(stream=paper):
        noise()
    assert paper.getvalue() == ""
    with page(stream=paper, verbose=True):
        warnings.simplefilter("always")
        noise()
    assert "n_jobs value" in paper.getvalue()


def test_all_noise_has_a_reason():
    assert all(reason for _message, _category, reason in KNOWN_NOISE)


def test_the_page_leaves_everything_as_it_found_it(paper):
    root = logging.getLogger()
    handlers, levels = list(root.handlers), [root.level, logging.getLogger("synthome").level]
    shown, filters = warnings.showwarning, list(warnings.filters)
    with pytest.raises(KeyError), page(stream=paper):
        raise KeyError
    assert root.handlers == handlers
    assert [root.level, logging.getLogger("synthome").level] == levels
    assert (warnings.showwarning, warnings.filters) == (shown, filters)


def test_only_plain_console_handlers_give_way(paper, monkeypatch):
    """A user who asks for a file, or for Rich, keeps it; nobody reads a line twice."""
    root = logging.getLogger()
    console, file = logging.StreamHandler(sys.stdout), logging.NullHandler()
    monkeypatch.setattr(root, "handlers", [console, file])
    with page(stream=paper):
        assert console not in root.handlers
        assert file in root.handlers


def test_in_a_terminal_the_status_stays_below_the_lines():
    terminal = Terminal()
    with page(stream=terminal):
        show_status("[1/2] fit ...")
        LOGGER.info("told")
        show_status("")
        LOGGER.info("[1/2] fit ... 3.0 s")
    assert terminal.getvalue() == (
        f"[1/2] fit ...{ERASE}told\n[1/2] fit ...{ERASE}[1/2] fit ... 3.0 s\n"
    )


def test_a_file_sees_no_status(paper):
    with page(stream=paper):
        show_status("[1/2] fit ...")
        LOGGER.info("told")
    assert paper.getvalue() == "told\n"


def test_a_line_is_written_above_a_progress_bar(monkeypatch):
    """The bar is lifted, the line written, the bar drawn again below it."""
    from tqdm import tqdm

    monkeypatch.setenv("COLUMNS", "60")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    handler = PageHandler(terminal)
    record = LOGGER.makeRecord("synthome", logging.INFO, "", 0, "told", None, None)
    with tqdm(total=2, file=terminal, ncols=40, mininterval=0) as bar:
        bar.update(1)
        before = len(terminal.getvalue())
        handler.emit(record)
        after = terminal.getvalue()[before:]
    lifted, told, drawn = after.partition("told\n")
    assert told
    assert lifted.strip("\r ") == ""
    assert "1/2" in drawn
