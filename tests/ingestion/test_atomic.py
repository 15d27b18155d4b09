import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synthome.errors import InputError
from synthome.ingestion.atomic import atomic_write, is_disk_full


def fill(path: Path, error: BaseException) -> None:
    """Write half a file, then fail."""
    path.write_text("half")
    raise error


@pytest.fixture
def earlier(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("good")
    return path


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), RuntimeError("x")])
def test_an_interrupted_write_leaves_the_earlier_file_and_nothing_else(earlier, error):
    with pytest.raises(type(error)), atomic_write(earlier) as temporary:
        fill(temporary, error)
    assert earlier.read_text() == "good"
    assert [p.name for p in earlier.parent.iterdir()] == ["result.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_one_message_and_the_earlier_file_stays(earlier, number):
    with (
        pytest.raises(
            InputError, match=r"No space left.*result\.txt.*earlier version is unchanged"
        ),
        atomic_write(earlier) as temporary,
    ):
        fill(temporary, OSError(number, os.strerror(number)))
    assert earlier.read_text() == "good"
    assert [p.name for p in earlier.parent.iterdir()] == ["result.txt"]


def test_a_full_disk_is_seen_through_libraries_that_give_text_only():
    """HDF5 raises RuntimeError when it closes a file on a full disk, safetensors its own error."""
    try:
        raise RuntimeError("unable to extend file, errno = 28, 'No space left on device'")
    except RuntimeError as inner:
        outer = ValueError("could not write")
        outer.__cause__ = inner
    assert is_disk_full(outer)
    assert not is_disk_full(ValueError("something else"))


def test_a_whole_write_takes_the_name_in_one_step(earlier):
    with atomic_write(earlier) as temporary:
        temporary.write_text("better")
        assert earlier.read_text() == "good"
        assert temporary.parent == earlier.parent
        assert temporary.suffix == ".txt"
    assert earlier.read_text() == "better"


def test_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "c.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("x")
    assert path.read_text() == "x"


def test_a_folder_in_place_of_the_file_is_told(tmp_path):
    (tmp_path / "report.html").mkdir()
    with (
        pytest.raises(InputError, match=r"report\.html is a folder"),
        atomic_write(tmp_path / "report.html"),
    ):
        pass


def test_a_file_in_place_of_the_folder_is_told(tmp_path):
    (tmp_path / "data").write_text("I am a file")
    with (
        pytest.raises(InputError, match="is a file, where a folder is needed"),
        atomic_write(tmp_path / "data" / "x.txt"),
    ):
        pass


def test_what_a_killed_run_left_goes_after_a_day_and_not_before(tmp_path):
    """A younger one may belong to a run that is writing now."""
    old, young = tmp_path / ".x.abc.tmp.txt", tmp_path / ".x.def.tmp.txt"
    for path in (old, young):
        path.write_text("half")
    day_ago = time.time() - 25 * 3600
    os.utime(old, (day_ago, day_ago))
    with atomic_write(tmp_path / "x.txt") as temporary:
        temporary.write_text("whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".x.def.tmp.txt", "x.txt"]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "x.txt"
    with atomic_write(path) as one, atomic_write(path) as other:
        assert one != other
        one.write_text("1")
        other.write_text("2")
    assert path.read_text() == "1"


LIMITED = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from synthome.errors import InputError
from synthome.ingestion.atomic import atomic_write
try:
    with atomic_write(Path(sys.argv[1])) as temporary:
        temporary.write_bytes(b"x" * 50_000)
except InputError as error:
    print(error)
"""


def test_a_real_limit_of_the_system_leaves_the_earlier_file(earlier):
    """The kernel itself refuses to let the file grow, as it does on a full disk."""
    pytest.importorskip("resource")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(earlier)], capture_output=True, text=True, check=True
    )
    assert "No space left" in done.stdout
    assert earlier.read_text() == "good"
    assert [p.name for p in earlier.parent.iterdir()] == ["result.txt"]
