"""spatial_gvae on a very large tissue: 500,000 spots x 500 genes against 50,000, cost per spot.

Simulated counts on a hexagonal lattice, six neighbours each, no image; default network. Of three
epochs, the last two are timed; memory is the peak of a fresh process that makes the tissue and
trains on it.
"""

import json
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse
from scipy.spatial import KDTree

from benchmarks.harness import Comparison, peak_memory
from synthome.anndata_schema import COUNTS, LIBRARY_SIZE, NEIGHBOURS, SPATIAL, UNS
from synthome.models.spatial_gvae import SpatialGVAEConfig, SpatialGVAEGenerator

N_VARS, K = 500, 6
MANY, FEW = 500_000, 50_000
EPOCHS = 3


def tissue(n: int) -> AnnData:
    """Six domains in stripes, each with a profile of its own; about 100 counts a spot."""
    rng = np.random.default_rng(0)
    width = int(np.ceil(n**0.5))
    row, column = np.divmod(np.arange(n), width)
    place = np.column_stack([column + 0.5 * (row % 2), row * 3**0.5 / 2])
    nearest = KDTree(place).query(place, K + 1)[1][:, 1:]
    edges = (np.ones(nearest.size, np.float32), (np.repeat(np.arange(n), K), nearest.ravel()))
    domain = column * 6 // width
    profile = rng.gamma(0.5, 1.0, (6, N_VARS))
    profile *= 100.0 / profile.sum(axis=1, keepdims=True)
    blocks = [
        sparse.csr_matrix(rng.poisson(profile[domain[a : a + 10_000]]), dtype=np.float32)
        for a in range(0, n, 10_000)
    ]
    counts = sparse.vstack(blocks, format="csr")
    size = np.asarray(counts.sum(axis=1)).ravel()
    scaled = sparse.diags_array(1e4 / np.maximum(size, 1.0)) @ counts
    return AnnData(
        sparse.csr_matrix(scaled, dtype=np.float32).log1p(),
        obs=pd.DataFrame(
            {"domain": domain.astype(str), LIBRARY_SIZE: size},
            index=np.arange(n).astype(str),
        ),
        var=pd.DataFrame(index=[f"G{i}" for i in range(N_VARS)]),
        layers={COUNTS: counts},
        obsm={SPATIAL: place},
        obsp={NEIGHBOURS: sparse.csr_matrix(edges, shape=(n, n))},
        uns={UNS: {"label_key": "domain", "scale": "counts"}},
    )


def _train(n: int, device: str, path: Path) -> None:
    ends: list[float] = []
    config = SpatialGVAEConfig(
        training={"max_epochs": EPOCHS, "validation_fraction": 0.0, "device": device}
    )
    made = tissue(n)
    start = time.perf_counter()
    SpatialGVAEGenerator(config).fit(made, on_epoch=lambda _: ends.append(time.perf_counter()))
    epochs = np.diff(ends).tolist()
    whole = time.perf_counter() - start
    path.write_text(json.dumps({"epochs": epochs, "fit": whole}))


def run(device: str = "cpu") -> Comparison:
    """Time an epoch of both sizes, and measure the memory of each."""
    found, peak = {}, {}
    with TemporaryDirectory() as folder:
        for n in (FEW, MANY):
            path = Path(folder) / f"{n}.json"
            peak[f"{n:,} spots"] = peak_memory(partial(_train, n, device, path))
            found[n] = json.loads(path.read_text())
    per_spot = {n: [1e6 * s / n for s in found[n]["epochs"]] for n in found}
    return Comparison(
        name="spatial_gvae_scale",
        claim="an epoch of 500,000 spots x 500 genes costs as much a spot as one of 50,000",
        protocol="microseconds per spot and epoch on the wall, one thread; reference: 50,000 spots",
        ours=per_spot[MANY],
        reference=per_spot[FEW],
        peak_mb=peak,
        extra={"seconds of fit, 3 epochs": {f"{n:,}": round(found[n]["fit"], 1) for n in found}},
    )
