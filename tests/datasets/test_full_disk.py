"""Each library fails in its own way when the disk is full; the person always reads the same."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from kedro.io.core import Version

import synthome.datasets as datasets

FIRST = "2026-01-01T00.00.00.000Z"

LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
import pandas as pd
from anndata import AnnData
from kedro.io import DatasetError
from kedro.io.core import Version
import pyarrow, safetensors.numpy, h5py
import synthome.datasets as datasets
noise = np.random.default_rng(0).normal(size=(300, 300))
large = {
    "AnnDataDataset": AnnData(noise),
    "TableDataset": pd.DataFrame(noise).rename(columns=str),
    "StateDataset": ({"w": noise}, {}),
    "JSONDataset": {"x": list(range(100_000))},
    "HTMLDataset": "x" * 500_000,
}
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for name, data in large.items():
    path = next(Path(sys.argv[1], name).glob("x.*"))
    try:
        version = Version(None, "2026-01-02T00.00.00.000Z")
        getattr(datasets, name)(str(path), version=version).save(data)
    except DatasetError as error:
        print(name, type(error.__cause__).__name__, error.__cause__)
"""

SMALL = {
    "AnnDataDataset": ("x.h5ad", AnnData(np.ones((2, 2)))),
    "TableDataset": ("x.parquet", pd.DataFrame({"a": [1]})),
    "StateDataset": ("x.safetensors", ({"w": np.ones(3)}, {"a": 1})),
    "JSONDataset": ("x.json", {"a": 1}),
    "HTMLDataset": ("x.html", "<p>"),
}


@pytest.fixture(scope="module")
def after(tmp_path_factory):
    """A first version of each kind, then a second one that the system does not let grow."""
    pytest.importorskip("resource")
    root = tmp_path_factory.mktemp("disk")
    before = {}
    for name, (file, data) in SMALL.items():
        path = root / name / file
        getattr(datasets, name)(str(path), version=Version(None, FIRST)).save(data)
        before[name] = path.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(root)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return root, before, dict(line.split(" ", 1) for line in done.stdout.splitlines())


@pytest.mark.parametrize("name", SMALL)
def test_a_disk_that_refuses_keeps_the_earlier_version(after, name):
    root, before, said = after
    file = SMALL[name][0]
    assert said[name].startswith("InputError No space left on the disk while writing")
    assert (root / name / file).read_bytes() == before[name]
    left = sorted(str(p.relative_to(root / name)) for p in root.glob(f"{name}/**/*") if p.is_file())
    assert left == sorted([file, f"versions/{FIRST}/{file}"])
    getattr(datasets, name)(str(root / name / file), version=Version(None, None)).load()
