import errno
import os
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from kedro.io import DatasetError
from kedro.io.core import Version, generate_timestamp

from synthome.datasets.base import AtomicDataset, publish
from synthome.errors import InputError


class TextDataset(AtomicDataset[str, str]):
    """Text; ``trouble`` comes when half of it is written."""

    trouble: BaseException | None = None

    def _write(self, data, path):
        with path.open("w") as file:
            file.write(data[: len(data) // 2])
            file.flush()
            if self.trouble is not None:
                raise self.trouble
            file.write(data[len(data) // 2 :])

    def _read(self, path):
        return path.read_text()


V1, V2 = "2026-01-01T00.00.00.000Z", "2026-01-02T00.00.00.000Z"
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def dataset(folder, save=None, load=None, versioned=True):
    version = Version(load, save) if versioned else None
    return TextDataset(str(folder / "result.txt"), version=version)


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_version_has_a_folder_and_the_plain_path_shows_it(tmp_path):
    dataset(tmp_path, V1).save("one")
    assert files(tmp_path) == ["result.txt", f"versions/{V1}/result.txt"]
    assert (tmp_path / "result.txt").read_text() == "one"


def test_the_plain_path_costs_no_space(tmp_path):
    dataset(tmp_path, V1).save("one")
    assert (tmp_path / "result.txt").samefile(tmp_path / "versions" / V1 / "result.txt")


def test_the_plain_path_is_a_copy_where_links_do_not_work(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr("synthome.datasets.base.os.link", refuse)
    dataset(tmp_path, V1).save("one")
    plain, version = tmp_path / "result.txt", tmp_path / "versions" / V1 / "result.txt"
    assert plain.read_text() == version.read_text() == "one"
    assert not plain.samefile(version)


def test_a_new_version_leaves_the_old_one_untouched(tmp_path):
    dataset(tmp_path, V1).save("one")
    dataset(tmp_path, V2).save("two")
    assert (tmp_path / "result.txt").read_text() == "two"
    assert (tmp_path / "versions" / V1 / "result.txt").read_text() == "one"
    assert dataset(tmp_path, load=V1).load() == "one"
    assert dataset(tmp_path).load() == "two"


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("trouble", [FULL, KeyboardInterrupt(), RuntimeError("bug")])
def test_a_save_that_fails_midway_changes_nothing(tmp_path, versioned, trouble):
    dataset(tmp_path, V1, versioned=versioned).save("a good result")
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    second = dataset(tmp_path, V2, versioned=versioned)
    second.trouble = trouble
    with pytest.raises((DatasetError, KeyboardInterrupt)) as error:
        second.save("a better result")
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before
    assert dataset(tmp_path, versioned=versioned).load() == "a good result"
    if trouble is FULL:
        assert isinstance(error.value.__cause__, InputError)
        assert "No space left on the disk" in str(error.value.__cause__)


def test_an_interrupt_between_version_and_plain_path_loses_nothing(tmp_path, monkeypatch):
    dataset(tmp_path, V1).save("one")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("synthome.datasets.base.publish", interrupt)
    with pytest.raises(KeyboardInterrupt):
        dataset(tmp_path, V2).save("two")
    assert (tmp_path / "result.txt").read_text() == "one"
    assert dataset(tmp_path).load() == "two"


def test_publishing_the_same_version_again_leaves_no_trace(tmp_path):
    """Renaming one name of a file to another name of the same file does nothing, says POSIX."""
    dataset(tmp_path, V1).save("one")
    publish(tmp_path / "versions" / V1 / "result.txt", tmp_path / "result.txt")
    assert files(tmp_path) == ["result.txt", f"versions/{V1}/result.txt"]


def test_a_run_reads_what_it_wrote_although_another_run_was_later(tmp_path):
    """Kedro would take the newest on disk: the model of the other run."""
    mine, other = dataset(tmp_path, V1), dataset(tmp_path, V2)
    mine.save("mine")
    other.save("other")
    assert mine.load() == "mine"
    assert dataset(tmp_path, V1).load() == "mine"
    assert dataset(tmp_path).load() == "other"


def test_a_version_that_came_meanwhile_is_seen(tmp_path):
    reader = dataset(tmp_path)
    dataset(tmp_path, V1).save("one")
    assert reader.load() == "one"
    dataset(tmp_path, V2).save("two")
    assert reader.load() == "two"


def test_versions_are_listed_newest_first(tmp_path):
    for version in (V1, V2):
        dataset(tmp_path, version).save("x")
    (tmp_path / "versions" / "9999-unfinished").mkdir()
    assert dataset(tmp_path).list_versions(full_path=False) == [V2, V1]


def test_folders_with_special_signs_are_no_patterns(tmp_path):
    folder = tmp_path / "cohort [1] *"
    dataset(folder, V1).save("one")
    assert dataset(folder).load() == "one"


def test_a_plain_file_put_there_by_hand_is_read(tmp_path):
    (tmp_path / "result.txt").write_text("by hand")
    assert dataset(tmp_path).exists()
    assert dataset(tmp_path).load() == "by hand"


def test_a_plain_file_of_before_is_replaced_once_there_are_versions(tmp_path):
    """In Kedro's own layout, switching versioning on fails until the file is removed."""
    dataset(tmp_path, versioned=False).save("plain")
    dataset(tmp_path, V1).save("one")
    assert (tmp_path / "result.txt").read_text() == "one"


def test_a_folder_of_kedros_own_layout_is_told(tmp_path):
    (tmp_path / "result.txt").mkdir()
    with pytest.raises(DatasetError, match="Move the folder away"):
        dataset(tmp_path, V1).save("one")
    assert files(tmp_path) == []


@pytest.mark.parametrize("versioned", [True, False])
def test_what_is_not_there_is_told(tmp_path, versioned):
    assert not dataset(tmp_path, versioned=versioned).exists()
    with pytest.raises(DatasetError) as error:
        dataset(tmp_path, versioned=versioned).load()
    assert isinstance(error.value.__cause__, InputError)
    assert "does not exist. Run the pipeline that makes it first" in str(error.value.__cause__)


def test_a_version_that_does_not_exist_lists_those_that_do(tmp_path):
    dataset(tmp_path, V1).save("one")
    with pytest.raises(DatasetError, match=rf"in version x.*{V1}"):
        dataset(tmp_path, load="x").load()


def test_one_version_is_written_once(tmp_path):
    dataset(tmp_path, V1).save("one")
    with pytest.raises(DatasetError, match="must not exist"):
        dataset(tmp_path, V1).save("again")
    assert dataset(tmp_path).load() == "one"


def test_a_version_cannot_lead_out_of_the_folder(tmp_path):
    with pytest.raises(DatasetError, match="not allowed"):
        dataset(tmp_path, "../../x").save("one")


def test_datasets_travel_to_other_processes(tmp_path):
    copy = pickle.loads(pickle.dumps(dataset(tmp_path, V1)))
    copy.save("one")
    assert dataset(tmp_path).load() == "one"


def test_many_threads_write_one_path_and_the_result_is_one_of_theirs(tmp_path):
    """As when several runs end at once; readers meanwhile never see half a file."""
    texts = [str(i) * 50_000 for i in range(8)]
    plain = dataset(tmp_path, versioned=False)
    plain.save(texts[0])
    stop, seen = threading.Event(), []

    def read():
        while not stop.is_set():
            seen.append(Path(tmp_path / "result.txt").read_text())
            time.sleep(0.001)

    reader = threading.Thread(target=read)
    reader.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda t: dataset(tmp_path, versioned=False).save(t), texts * 2))
    stop.set()
    reader.join()
    assert set(seen) <= set(texts)
    assert files(tmp_path) == ["result.txt"]


def test_a_timestamp_of_kedro_is_a_version(tmp_path):
    dataset(tmp_path, generate_timestamp()).save("one")
    assert dataset(tmp_path).load() == "one"


def test_others_may_read_what_they_could_read_before(tmp_path):
    """The safetensors library makes private files, whatever the person's umask says."""
    import numpy as np

    from synthome.datasets.state import StateDataset

    (tmp_path / "usual").touch()
    StateDataset(str(tmp_path / "w.safetensors")).save(({"w": np.ones(2)}, {}))
    assert (tmp_path / "w.safetensors").stat().st_mode == (tmp_path / "usual").stat().st_mode
