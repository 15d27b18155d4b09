"""The text code of omics_lm against loops over values: fit, encode and decode 1,000 x 978 genes.

The loops do what the published code does, one value at a time: compand, round, look the integer up
in a dictionary, join. They are given the moments and the range.
"""

import math
import time
from collections import Counter

import numpy as np

from benchmarks.harness import Comparison, in_pairs
from synthome.encoding.lookup_table import LookupTable, LookupTableConfig

N_OBS, N_VARS = 1_000, 978  # as many genes as L1000 measures
PUBLISHED_MS = {"encode": 0.66, "decode": 0.27, "fit": 0.99}  # per sample, on another machine
PAIRS, WARMUP = 5, 2  # a first call makes the alphabet


class Loops:
    """A table used one value at a time, as published."""

    def __init__(self, table: LookupTable) -> None:
        self.config, self.companding_max = table.config, table.companding_max
        self.shift, self.scale = table.shift.tolist(), table.scale.tolist()
        self.symbol = dict(zip(table.order.tolist(), table.alphabet, strict=True))
        self.integer = {symbol: integer for integer, symbol in self.symbol.items()}

    def compand(self, row: np.ndarray) -> list[int]:
        mu, top = self.config.mu, 2**self.config.float_precision
        found = []
        for value, shift, scale in zip(row.tolist(), self.shift, self.scale, strict=True):
            y = max(-1.0, min(1.0, (value - shift) / scale / self.companding_max))
            c = math.copysign(math.log1p(mu * abs(y)) / math.log1p(mu), y)
            found.append(round(top * c))
        return found

    def encode(self, x: np.ndarray) -> list[str]:
        size, separator = self.config.patch_size, self.config.separator
        texts = []
        for row in x:
            integers = self.compand(row)
            patches = [integers[i : i + size] for i in range(0, len(integers), size)]
            texts.append(separator.join("".join(self.symbol[i] for i in p) for p in patches))
        return texts

    def decode(self, texts: list[str]) -> np.ndarray:
        mu, top = self.config.mu, 2**self.config.float_precision
        rows = []
        for text in texts:
            integers = [self.integer[s] for patch in text.split(self.config.separator)
                        for s in patch]  # fmt: skip
            row = []
            for integer, shift, scale in zip(integers, self.shift, self.scale, strict=True):
                y = math.copysign(math.expm1(math.log1p(mu) * abs(integer) / top) / mu, integer)
                row.append(y * self.companding_max * scale + shift)
            rows.append(row)
        return np.array(rows)

    def fit(self, x: np.ndarray) -> list[int]:
        """Count integers row by row, and put them in order."""
        seen: Counter[int] = Counter()
        for row in x:
            for integer in self.compand(row):
                seen[integer] += 1
        return [integer for integer, _ in seen.most_common()]


def run(device: str) -> Comparison:  # noqa: ARG001
    """Encoding; decoding and fitting are in ``extra``. The processor alone, whatever the device."""
    x = np.random.default_rng(0).normal(6.0, 2.0, (N_OBS, N_VARS))
    table = LookupTable.fit(x, LookupTableConfig())
    loops = Loops(table)
    texts = table.encode(x)
    assert loops.encode(x[:20]) == texts[:20]
    np.testing.assert_allclose(loops.decode(texts[:20]), table.decode(texts[:20]), rtol=1e-12)
    # Ties are in an order of their own, so it is counts that must be equal.
    seen = table.order[table.counts > 0]
    assert set(loops.fit(x)) == set(seen.tolist())
    sides = {
        "encode": (lambda: table.encode(x), lambda: loops.encode(x)),
        "decode": (lambda: table.decode(texts), lambda: loops.decode(texts)),
        "fit": (lambda: LookupTable.fit(x, table.config), lambda: loops.fit(x)),
    }
    seconds = {
        name: in_pairs(*both, pairs=PAIRS, warmup=WARMUP, clock=time.process_time)
        for name, both in sides.items()
    }
    extra = {}
    for name, (ours, reference) in seconds.items():
        per_sample = 1e6 * float(np.median(ours)) / N_OBS
        ratio = float(np.median(reference)) / float(np.median(ours))
        extra[name] = (
            f"{per_sample:.1f} us a sample, {ratio:.0f} x the loop, "
            f"{1e3 * PUBLISHED_MS[name] / per_sample:.0f} x what was published"
        )
    return Comparison(
        name="lookup_table",
        claim=f"text code, encode {N_OBS:,} x {N_VARS}, against a loop over values",
        protocol="one thread, seconds of the processor; the loop gives the same texts and values",
        ours=seconds["encode"][0],
        reference=seconds["encode"][1],
        extra=extra,
    )
