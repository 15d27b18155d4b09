"""Unified lookup table: each expression value is one character, each sample a text of patches.

A gene is set to mean 0 and standard deviation 1 of the training rows (z), companded by the mu-law,
rounded to an integer i, and written as the symbol of that integer:

    c = sign(z) ln(1 + mu |z| / M) / ln(1 + mu)          in [-1, 1] where |z| <= M         (1)
    i = sign(c) round(2^p |c|)                           -2^p ... 2^p                      (2)
    z' = sign(i) M ((1 + mu)^(|i| / 2^p) - 1) / mu       the inverse of eq. 1              (3)

where p is ``float_precision`` and M is ``companding_max``. Symbols are given by descending
frequency in the training rows from code point 33 upwards; integers that no training value has come
last, so that each of the 2^(p+1) + 1 integers has one. Symbols of ``patch_size`` genes in a row
stand together, and a separator stands between patches.

For every |z| <= M, eq. 3 is within half a step of the truth: |c(z') - c(z)| <= 2^-(p+1), and in
units of z within the half step that is there, which grows with |z| (``half_steps``).

Departures from the published code, which the options bring back:

- M = 1 clips every |z| > 1: of normal values 32 % are clipped, and R2 is 0.849. Here M is the
  largest |z| of the training rows times ``MARGIN``; what is clipped nevertheless is counted
  (``companding_max: 1.0``).
- Cutting towards zero, int(2^p c), makes the bin of zero twice as wide as the others and doubles
  the largest error; here integers are rounded (``rounding: truncate``).
- The published alphabet is every code point from 33 on: separators and white space, accents that
  join the letter before them, and surrogates, which collide. ``symbols`` says which are used here.
- A character that is not in the table is decoded as some other value there, and is an error here.

Janakarajan et al. (2025), IEEE ICDH; code and tables: github.com/IBM/unified-lookup-tables.
ITU-T G.711 (1988), Pulse code modulation of voice frequencies (eq. 1).
"""

import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal, Self, TypeVar

import numpy as np
from jaxtyping import Float, Int, UInt
from pydantic import Field, FiniteFloat, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

from synthome.config import Config
from synthome.errors import InputError
from synthome.preprocessing.scaling import Standardiser, smallest_spread

FORMAT = "synthome.LookupTable/1"
FIRST_CODE_POINT = 33
MARGIN = 4.0  # of the range over the largest training value; docs/log.md, 2026-11-26
BLOCK = 2**15  # values that are companded at a time, so that they stay in the cache
UTF32 = "utf-32-le"

C = TypeVar("C", bound=Config)


class LookupTableConfig(Config):
    """Choices of the code. ``companding_max`` is M of eq. 1; None takes it from the training rows.

    ``standardise: false`` codes the values as they are, for data that are z-scores already.
    """

    companding_max: PositiveFloat | None = None
    mu: PositiveFloat = 255.0
    float_precision: PositiveInt = Field(default=8, le=15)  # 15: as many symbols as Unicode allows
    patch_size: PositiveInt = 10
    separator: str = Field(default=" ", min_length=1, max_length=1)
    rounding: Literal["nearest", "truncate"] = "nearest"
    standardise: bool = True


PUBLISHED = LookupTableConfig(companding_max=1.0, mu=256.0, rounding="truncate")


def symbols(n: int, separator: str = " ") -> str:
    """The first ``n`` symbols: printable, visible, alone, and the same after any normalisation.

    Code points from 33 on, without the separator, control, format, private and unassigned points,
    surrogates (categories C*), white space (Z*), combining marks (M*), and points that NFC or NFKC
    would replace, since tools for text normalise.
    """
    # One more than asked for, in case that the separator is among them.
    return _points(n + 1).replace(separator, "")[:n]


@cache
def _points(n: int) -> str:
    found: list[str] = []
    code = FIRST_CODE_POINT
    while len(found) < n:
        character = chr(code)
        code += 1
        if unicodedata.category(character)[0] in "CZM" or character.isspace():
            continue
        if all(unicodedata.normalize(form, character) == character for form in ("NFC", "NFKC")):
            found.append(character)
    return "".join(found)


class _Saved(Config):
    """The JSON of a table, with one entry per integer in ``integers``, ``counts``, ``alphabet``."""

    format: str
    config: LookupTableConfig
    companding_max: PositiveFloat
    integers: list[int]
    counts: list[NonNegativeInt]
    alphabet: str
    shift: list[FiniteFloat]
    scale: list[PositiveFloat]


class _Published(Config):
    """The JSON of a published table: how often each integer was seen."""

    mapping: dict[str, NonNegativeInt]
    key_type: str


@dataclass(frozen=True, eq=False)
class LookupTable:
    """Eqs. 1-3 with what the training rows decided: moments, range, and the order of symbols."""

    config: LookupTableConfig
    companding_max: float  # M of eq. 1
    order: Int[np.ndarray, " n_symbols"]  # integers, the most frequent first
    counts: Int[np.ndarray, " n_symbols"]  # in the training rows, in that order
    alphabet: str  # symbols in that order
    shift: Float[np.ndarray, " n_vars"]
    scale: Float[np.ndarray, " n_vars"]

    @classmethod
    def fit(cls, x: Float[np.ndarray, "n_obs n_vars"], config: LookupTableConfig) -> Self:
        """Measure moments, range and frequencies in the training rows.

        A gene that is constant there keeps the scale 1, and all its values have the symbol of 0.
        """
        shift, scale, companding_max = _moments(x, config)
        counts = np.zeros(2 * _top(config) + 1, dtype=np.int64)
        bare = cls._with_counts(config, companding_max, counts, shift, scale)
        for _, places in bare._companded(x):
            counts += np.bincount(places.ravel(), minlength=len(counts))
        return cls._with_counts(config, companding_max, counts, shift, scale)

    @classmethod
    def from_published(
        cls, text: str, x: Float[np.ndarray, "n_obs n_vars"], config: LookupTableConfig
    ) -> Self:
        """Frequencies of a published table (``{"mapping": {"256": 974441}, "key_type": "int"}``).

        Such a file says neither how it was made nor which genes it is for: ``config`` tells the
        former, and moments are those of the training rows ``x``. Integers that were seen equally
        often are in the order of the file, as they are in the published code.
        """
        where = "The published lookup table"
        saved = _parsed(_Published, text, where)
        if saved.key_type != "int":
            raise InputError(
                f"{where} has the key_type {saved.key_type!r}; only tables of integers, as made "
                "for expression values, can be read."
            )
        if config.companding_max is None:
            raise InputError(
                f"{where} does not say for which range it was made: set companding_max to that "
                "of its makers (1.0 for the published ones)."
            )
        top = _top(config)
        counts = np.zeros(2 * top + 1, dtype=np.int64)
        seen: list[int] = []
        for key, count in saved.mapping.items():
            try:
                integer = int(key)
            except ValueError:
                raise InputError(f"{where} has the key {key!r}, which is not an integer.") from None
            if integer in seen:
                raise InputError(f"{where} holds the integer {integer} twice.")
            if abs(integer) > top:
                raise InputError(
                    f"{where} holds the integer {integer}, which is not in -{top} ... {top}: it "
                    "was made with another float_precision."
                )
            seen.append(integer)
            counts[integer + top] = count
        shift, scale, companding_max = _moments(x, config)
        return cls._with_counts(config, companding_max, counts, shift, scale, seen)

    @classmethod
    def _with_counts(
        cls,
        config: LookupTableConfig,
        companding_max: float,
        counts: Int[np.ndarray, " n_symbols"],
        shift: Float[np.ndarray, " n_vars"],
        scale: Float[np.ndarray, " n_vars"],
        first: Sequence[int] = (),
    ) -> Self:
        """Symbols by descending count; ties as in ``first``, then 0, 1, -1, 2, -2, ..."""
        top = _top(config)
        away = np.arange(1, top + 1)
        others = np.concatenate([[0], np.stack([away, -away], axis=1).ravel()])
        listed = np.array(first, dtype=np.int64)
        candidates = np.concatenate([listed, others[~np.isin(others, listed)]])
        order = candidates[np.argsort(-counts[candidates + top], kind="stable")]
        alphabet = symbols(len(order), config.separator)
        return cls(config, companding_max, order, counts[order + top], alphabet, shift, scale)

    @property
    def n_vars(self) -> int:
        """Genes of each text."""
        return len(self.shift)

    @property
    def text_length(self) -> int:
        """Characters of each text, separators included."""
        return self.n_vars + (self.n_vars - 1) // self.config.patch_size

    def integers(self, x: Float[np.ndarray, "n_obs n_vars"]) -> Int[np.ndarray, "n_obs n_vars"]:
        """Eqs. 1 and 2; what is beyond the range becomes its end (``clipped_fraction`` counts)."""
        self._check_values(x)
        found = np.empty(x.shape, dtype=np.int32)
        for rows, places in self._companded(x):
            np.subtract(places, _top(self.config), out=found[rows], casting="unsafe")
        return found

    def _companded(
        self, x: Float[np.ndarray, "n_obs n_vars"]
    ) -> Iterator[tuple[slice, Int[np.ndarray, "n_rows n_vars"]]]:
        """Eqs. 1 and 2 for some rows at a time: i + 2^p, the place of i among all integers."""
        top, mu = _top(self.config), self.config.mu
        slope = mu / (self.companding_max * self.scale)
        nearest = self.config.rounding == "nearest"
        step = max(1, BLOCK // self.n_vars)
        for start in range(0, len(x), step):
            rows = slice(start, start + step)
            u = x[rows].astype(np.float64)
            u -= self.shift
            u *= slope
            c = np.abs(u)
            c += 1.0  # what this loses of a small u is 1e-16, and a step of c is far more
            np.log(c, out=c)
            c *= top / np.log1p(mu)
            np.minimum(c, top, out=c)
            if not nearest:
                np.floor(c, out=c)
            np.copysign(c, u, out=c)
            c += top + 0.5 if nearest else top  # not negative: making it an integer rounds down
            yield rows, c.astype(np.intp)

    def values(
        self, integers: Int[np.ndarray, "n_obs n_vars"]
    ) -> Float[np.ndarray, "n_obs n_vars"]:
        """Eq. 3, in the units of the training rows."""
        top = _top(self.config)
        if integers.size and (integers.min() < -top or integers.max() > top):
            worst = int(integers.max() if integers.max() > top else integers.min())
            raise InputError(
                f"The integer {worst} is not in -{top} ... {top}, as this table's are."
            )
        return self._unscaled(self._levels[integers + top])

    @cached_property
    def _levels(self) -> Float[np.ndarray, " n_symbols"]:
        """Eq. 3 for -2^p ... 2^p, in units of z."""
        top = _top(self.config)
        return self._expanded(np.arange(-top, top + 1, dtype=np.float64))

    @property
    def code_levels(self) -> Float[np.ndarray, " n_symbols"]:
        """Eq. 3 in units of z, for the symbols in the order of the alphabet."""
        return self._levels[self.order + _top(self.config)]

    def _expanded(self, integers: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        exponent = np.log1p(self.config.mu) * np.abs(integers) / _top(self.config)
        return np.sign(integers) * self.companding_max * np.expm1(exponent) / self.config.mu

    def _unscaled(self, z: Float[np.ndarray, "n_obs n_vars"]) -> Float[np.ndarray, "n_obs n_vars"]:
        z *= self.scale
        z += self.shift
        return z

    def half_steps(
        self, integers: Int[np.ndarray, "n_obs n_vars"]
    ) -> Float[np.ndarray, "n_obs n_vars"]:
        """Largest error of ``values(integers)`` for values in the range, with nearest rounding.

        The way from the value to the farther edge of its bin, which is the outer one.
        """
        size = np.abs(integers).astype(np.float64)
        outer, inner = (self._expanded((size + half).ravel()) for half in (0.5, 0.0))
        return (outer - inner).reshape(integers.shape) * self.scale

    def clipped_fraction(self, x: Float[np.ndarray, "n_obs n_vars"]) -> float:
        """Share of the values beyond the range."""
        self._check_values(x)
        return float((np.abs((x - self.shift) / self.scale) > self.companding_max).mean())

    def codes(self, x: Float[np.ndarray, "n_obs n_vars"]) -> Int[np.ndarray, "n_obs n_vars"]:
        """Place of the symbol of each value in the alphabet: 0 is the most frequent one."""
        self._check_values(x)
        found = np.empty(x.shape, dtype=np.int32)
        for rows, places in self._companded(x):
            found[rows] = self._ranks.take(places)
        return found

    @cached_property
    def _ranks(self) -> Int[np.ndarray, " n_symbols"]:
        """Place in the alphabet, for -2^p ... 2^p."""
        ranks = np.empty(len(self.order), dtype=np.int32)
        ranks[self.order + _top(self.config)] = np.arange(len(self.order), dtype=np.int32)
        return ranks

    def from_codes(
        self, codes: Int[np.ndarray, "n_obs n_vars"]
    ) -> Float[np.ndarray, "n_obs n_vars"]:
        """Values of ``codes``, the inverse of that up to rounding."""
        n_symbols = len(self.alphabet)
        if codes.size and (codes.min() < 0 or codes.max() >= n_symbols):
            worst = int(codes.min() if codes.min() < 0 else codes.max())
            raise InputError(
                f"The code {worst} is not in 0 ... {n_symbols - 1}, as this table's are."
            )
        return self._unscaled(self._levels[self.order[codes] + _top(self.config)])

    def encode(self, x: Float[np.ndarray, "n_obs n_vars"]) -> list[str]:
        """One text per row."""
        self._check_values(x)
        length, n_vars = self.text_length, self.n_vars
        # Two bytes a character where they suffice, which is up to a float_precision of 14.
        narrow = max(self.alphabet + self.config.separator) <= "\uffff"
        kind, codec = ("<u2", "utf-16-le") if narrow else ("<u4", UTF32)
        symbol = np.frombuffer(self.alphabet.encode(codec), dtype=kind)[self._ranks]
        written = np.full(length, n_vars)  # what stands where in a text: a gene, or the separator
        written[self._letters] = np.arange(n_vars)
        characters = np.empty((len(x), length), dtype=kind)
        for rows, places in self._companded(x):
            block = np.empty((len(places), n_vars + 1), dtype=kind)
            block[:, :n_vars] = symbol.take(places)
            block[:, n_vars] = ord(self.config.separator)
            characters[rows] = block.take(written, axis=1)
        text = str(characters.data.cast("B"), codec) if len(x) else ""
        return [text[start : start + length] for start in range(0, len(text), length)]

    @cached_property
    def _letters(self) -> Int[np.ndarray, " n_vars"]:
        """Position in a text of each gene."""
        genes = np.arange(self.n_vars)
        return genes + genes // self.config.patch_size

    def decode(self, texts: Sequence[str]) -> Float[np.ndarray, "n_obs n_vars"]:
        """Values of the texts, which must be whole and hold symbols of this table alone."""
        characters = self._characters(texts)
        values = np.empty((len(texts), self.n_vars))
        step = max(1, BLOCK // self.n_vars)
        for start in range(0, len(texts), step):
            rows = slice(start, start + step)
            letters = characters[rows].take(self._letters, axis=1)
            z = self._level_of.take(letters, mode="clip", out=values[rows])
            if np.isnan(z).any():
                self._refuse_unknown(characters)
            self._unscaled(z)
        return values

    @cached_property
    def _level_of(self) -> Float[np.ndarray, " n_points"]:
        """Eq. 3 for each code point; NaN for one without, the last stands for all above."""
        points = np.frombuffer(self.alphabet.encode(UTF32), dtype="<u4")
        level_of = np.full(int(points.max()) + 2, np.nan)
        level_of[points] = self.code_levels
        return level_of

    def _characters(self, texts: Sequence[str]) -> UInt[np.ndarray, "n_obs length"]:
        """Code points of texts that have the right length, and separators in the right places."""
        length, size = self.text_length, self.config.patch_size
        for row, text in enumerate(texts):
            if len(text) != length:
                raise InputError(
                    f"Text {row} has {len(text):,} characters, but {self.n_vars:,} genes in "
                    f"patches of {size} have {length:,}. Was it cut, or made with another table?"
                )
        # A lone surrogate is no symbol either; it passes here, to be named by its position.
        whole = "".join(texts).encode(UTF32, errors="surrogatepass")
        characters = np.frombuffer(whole, dtype="<u4").reshape(len(texts), length)
        wrong = characters[:, size :: size + 1] != ord(self.config.separator)
        if wrong.any():
            row, which = (int(at[0]) for at in np.nonzero(wrong))
            at = size + which * (size + 1)
            raise InputError(
                f"Text {row} has {_named(characters[row, at])} at position {at}, where the "
                f"separator {self.config.separator!r} must stand, as after every {size} genes."
            )
        return characters

    def _refuse_unknown(self, characters: UInt[np.ndarray, "n_obs length"]) -> None:
        letters = characters[:, self._letters]
        unknown = np.isnan(self._level_of.take(letters, mode="clip"))
        row, gene = (int(index[0]) for index in np.nonzero(unknown))
        at = int(self._letters[gene])
        raise InputError(
            f"Text {row} has {_named(characters[row, at])} at position {at} (gene "
            f"{gene}), which is none of the {len(self.alphabet):,} symbols of this "
            "table. It cannot be decoded; was the text made with another table?"
        )

    def _check_values(self, x: Float[np.ndarray, "n_obs n_vars"]) -> None:
        if x.shape[1] != self.n_vars:
            raise InputError(
                f"The lookup table was fitted on {self.n_vars:,} genes, and the matrix has "
                f"{x.shape[1]:,}. Select the same genes, in the same order."
            )
        _check_finite(x)

    def check_same(self, config: LookupTableConfig) -> None:
        """Refuse ``config`` if it would give other texts than this table.

        Raises
        ------
        InputError
            With each parameter that differs. A ``companding_max`` of None, taken from the training
            rows, agrees with a table that took it from there.
        """
        here = self.config.model_dump()
        if config.companding_max is not None:
            here["companding_max"] = self.companding_max
        different = [
            f"{name} is {here[name]!r} in the table and {value!r} in the parameters"
            for name, value in config.model_dump().items()
            if here[name] != value
        ]
        if different:
            raise InputError(
                f"The lookup table was made with other parameters: {'; '.join(different)}. Fit the "
                "table again, or give the parameters that it was made with."
            )

    def to_json(self) -> str:
        """The table as text; numbers are written so that they are read back exactly."""
        saved = _Saved(
            format=FORMAT,
            config=self.config,
            companding_max=self.companding_max,
            integers=self.order.tolist(),
            counts=self.counts.tolist(),
            alphabet=self.alphabet,
            shift=self.shift.tolist(),
            scale=self.scale.tolist(),
        )
        return json.dumps(saved.model_dump())  # ASCII: no tool can change the symbols

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote; the published format has ``from_published``."""
        where = "The lookup table"
        saved = _parsed(_Saved, text, where)
        if saved.format != FORMAT:
            raise InputError(
                f"{where} has the format {saved.format!r}, and this version reads {FORMAT!r}. "
                "Fit the table again."
            )
        _check_whole(saved, where)
        return cls(
            config=saved.config,
            companding_max=saved.companding_max,
            order=np.array(saved.integers, dtype=np.int64),
            counts=np.array(saved.counts, dtype=np.int64),
            alphabet=saved.alphabet,
            shift=np.array(saved.shift, dtype=np.float64),
            scale=np.array(saved.scale, dtype=np.float64),
        )


def _top(config: LookupTableConfig) -> int:
    """Largest integer, 2^p."""
    return int(2**config.float_precision)


def _moments(
    x: Float[np.ndarray, "n_obs n_vars"], config: LookupTableConfig
) -> tuple[Float[np.ndarray, " n_vars"], Float[np.ndarray, " n_vars"], float]:
    """Shift and scale of each gene, and M of eq. 1."""
    if not x.size:
        raise InputError(f"A lookup table cannot be fitted on {x.shape[0]} x {x.shape[1]} values.")
    _check_finite(x)
    shift, scale = np.zeros(x.shape[1]), np.ones(x.shape[1])
    if config.standardise:
        fitted = Standardiser.fit(x.astype(np.float64, copy=False))
        shift, scale = fitted.shift, fitted.scale
    if config.companding_max is not None:
        return shift, scale, config.companding_max
    # The largest |z| of a gene is that of its smallest or its largest value.
    ends = np.stack([x.min(axis=0), x.max(axis=0)]).astype(np.float64)
    largest = float(np.abs((ends - shift) / scale).max())
    if largest < smallest_spread(ends.dtype):
        return shift, scale, 1.0  # there is nothing but constant genes
    return shift, scale, MARGIN * largest


def _check_finite(x: Float[np.ndarray, "n_obs n_vars"]) -> None:
    finite = np.isfinite(x)
    if not finite.all():
        row, gene = (int(at[0]) for at in np.nonzero(~finite))
        raise InputError(
            f"A lookup table needs finite values, but {int((~finite).sum()):,} are not, the first "
            f"being {x[row, gene]} at row {row}, gene {gene}. Fill or drop them before encoding."
        )


def _named(point: np.uint32) -> str:
    """A character by itself, if it can be shown, and by its code point."""
    code = int(point)
    character = chr(code)
    shown = f"{character!r} " if character.isprintable() else ""
    return f"the character {shown}(U+{code:04X})"


def _parsed(kind: type[C], text: str, where: str) -> C:
    try:
        return kind.model_validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{where} is not what it should be{f' at {place!r}' if place else ''}: "
            f"{first['msg']}. The file is damaged or of another kind; fit the table again."
        ) from None


def _check_whole(saved: _Saved, where: str) -> None:
    """All parts must fit together, since a table that is a little wrong decodes without a word."""
    top, given = _top(saved.config), saved.config.companding_max
    alphabet = saved.alphabet
    doubled = sorted({symbol for symbol in alphabet if alphabet.count(symbol) > 1})
    problem = None
    if sorted(saved.integers) != list(range(-top, top + 1)):
        problem = f"its integers are not -{top} ... {top}, each once"
    elif len(saved.counts) != len(saved.integers) or len(alphabet) != len(saved.integers):
        problem = (
            f"it has {len(saved.integers):,} integers, {len(saved.counts):,} counts and "
            f"{len(alphabet):,} symbols, which must be as many"
        )
    elif doubled:
        problem = f"the symbol {doubled[0]!r} (U+{ord(doubled[0]):04X}) stands for two integers"
    elif saved.config.separator in alphabet:
        problem = f"the separator {saved.config.separator!r} is one of its symbols"
    elif any(a < b for a, b in zip(saved.counts, saved.counts[1:], strict=False)):
        problem = "its symbols are not in the order of their counts"
    elif not saved.shift or len(saved.shift) != len(saved.scale):
        problem = f"it has {len(saved.shift):,} shifts and {len(saved.scale):,} scales"
    elif given is not None and given != saved.companding_max:
        problem = (
            f"companding_max is {given:g} in one place and {saved.companding_max:g} in another"
        )
    if problem:
        raise InputError(f"{where} is damaged: {problem}. Fit the table again.")
