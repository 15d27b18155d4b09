import pytest

from synthome.datasets.versions import prune_versions
from synthome.errors import InputError

STAMPS = [f"2026-01-0{i}T00.00.00.000Z" for i in range(1, 6)]


@pytest.fixture
def data(tmp_path):
    for system in ("rare_vae", "gan"):
        for stamp in STAMPS:
            folder = tmp_path / system / "versions" / stamp
            folder.mkdir(parents=True)
            (folder / "weights.safetensors").write_text(stamp)
        (tmp_path / system / "weights.safetensors").write_text("newest")
    (tmp_path / "gan" / "versions" / "precious").mkdir()
    return tmp_path


def left(folder):
    return sorted(path.name for path in (folder / "versions").iterdir())


def test_the_newest_stay_everywhere(data):
    removed = prune_versions(data, 2)
    assert len(removed) == 6
    assert left(data / "rare_vae") == STAMPS[-2:]
    assert left(data / "gan") == [*STAMPS[-2:], "precious"]
    assert (data / "gan" / "weights.safetensors").read_text() == "newest"


def test_one_system_may_be_pruned_alone(data):
    prune_versions(data / "gan", 1)
    assert left(data / "rare_vae") == STAMPS


def test_keeping_more_than_there_are_removes_nothing(data):
    assert prune_versions(data, 99) == []


def test_the_last_version_cannot_be_removed(data):
    with pytest.raises(InputError, match="at least one"):
        prune_versions(data, 0)


def test_a_folder_that_is_none_is_told(data):
    with pytest.raises(InputError, match="is not a folder"):
        prune_versions(data / "nowhere", 1)
