"""Which samples take part: the rows asked for, with a label, in classes that are large enough."""

import re
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import pandas as pd

from synthome.anndata_schema import RESERVED_OBS
from synthome.config import Config
from synthome.errors import InputError
from synthome.ingestion.config import IngestionConfig
from synthome.ingestion.journal import Journal, count, some
from synthome.ingestion.sheet import as_text, is_missing, nearest_first

T = TypeVar("T", bound=Config)

TRUE = frozenset({"true", "t", "yes", "y", "1", "1.0"})
FALSE = frozenset({"false", "f", "no", "n", "0", "0.0"})
MANY_CLASSES = 20
PERSON = re.compile(r"patient|donor|subject|individual|participant|person|twin|family|case_?id")


def require_column(
    obs: pd.DataFrame, name: str, role: str, sheet: str = "The sample sheet"
) -> pd.Series:
    """The column ``name``; without it an error that lists those that exist, nearest first."""
    if name in obs.columns:
        return obs[name]
    listed = some(nearest_first(name, list(obs.columns)), 20) or "no columns at all"
    raise InputError(
        f"{sheet} has no column {name!r} to use as {role}. It has: {listed}. Name one "
        f"with --params={role}=COLUMN."
    )


def rename_columns(obs: pd.DataFrame, journal: Journal) -> tuple[pd.DataFrame, dict[str, str]]:
    """Give columns another name that synthome writes itself (``split``) or h5ad cannot store.

    Returns
    -------
    The sheet, and the new name of each column renamed.
    """
    taken = set(map(str, obs.columns))
    renamed: dict[str, str] = {}
    for name in map(str, obs.columns):
        new = name.strip().replace("/", "_")
        new = "unnamed" if new in ("", ".") else new
        if RESERVED_OBS.match(new) or new == "_index":
            new = f"{new}_sheet"
        while new != name and new in taken:
            new = f"{new}_"
        if new != name:
            renamed[name] = new
            taken.add(new)
    if renamed:
        pairs = [f"{old!r} is now {new!r}" for old, new in renamed.items()]
        journal.step(
            "columns",
            "renamed, since synthome writes such a column itself or files cannot hold the name: "
            + some(pairs, 6),
        )
    return obs.rename(columns=renamed), renamed


def follow_renaming(config: T, renamed: Mapping[str, str], *roles: str) -> T:
    """``config`` with the new names of the columns that it names as ``roles``."""
    named = {role: getattr(config, role) for role in roles}
    return config.model_copy(
        update={role: renamed.get(name, name) for role, name in named.items() if name is not None}
    )


def truth_values(column: pd.Series, name: str) -> np.ndarray:
    """True where the column says true, yes, t, y or 1; a missing value is false; shape (n,)."""
    text = as_text(column).str.lower()
    given = text.dropna()
    unknown = sorted(set(given) - TRUE - FALSE)
    if unknown:
        raise InputError(
            f"where={name} needs a column of true and false, but {name!r} holds {some(unknown)}. "
            "Use true/false, yes/no or 1/0, or make such a column in the sample sheet."
        )
    return text.isin(TRUE).to_numpy()


def choose_samples(
    obs: pd.DataFrame, config: IngestionConfig, label: str | None, journal: Journal
) -> tuple[np.ndarray, pd.Series | None]:
    """Apply ``where`` and drop samples without a label.

    Parameters
    ----------
    obs
        The sample sheet.
    config
        ``where``, ``keep_unlabelled``.
    label
        Name of the label column, or None when there is none.
    journal
        Receives the numbers dropped.

    Returns
    -------
    Positions of the samples kept, and their labels as text.
    """
    kept = np.arange(len(obs))
    if config.where:
        column = require_column(obs, config.where, "where")
        kept = np.flatnonzero(truth_values(column, config.where))
        n_missing = int(is_missing(column).sum())
        if len(kept) == 0:
            raise InputError(
                f"where={config.where} is true in none of the {len(obs)} samples; nothing is left. "
                "Leave where out, or name another column."
            )
        empty = f" ({n_missing} without a value count as false)" if n_missing else ""
        journal.step(
            "where",
            f"{count(len(kept), 'sample')} of {len(obs):,} kept, those with {config.where!r} "
            f"true{empty}",
            n_obs=len(kept),
        )
    if label is None:
        return kept, None
    labels = as_text(require_column(obs, label, "label").iloc[kept])
    missing = labels.isna().to_numpy()
    if missing.all():
        raise InputError(
            f"The label column {label!r} is empty in all {len(labels)} samples. Name another "
            "column with --params=label=COLUMN, or fill it in."
        )
    if missing.any() and config.keep_unlabelled:
        journal.step("label", f"{count(int(missing.sum()), 'sample')} without {label} kept")
        return kept, labels.fillna("")
    if missing.any():
        kept, labels = kept[~missing], labels[~missing]
        journal.step(
            "label",
            f"{count(int(missing.sum()), 'sample')} without a value in {label!r} left out",
            n_obs=len(kept),
        )
    return kept, labels


def check_classes(
    labels: pd.Series, label: str, min_per_class: int, journal: Journal
) -> dict[str, int]:
    """Sizes of the classes, largest first; an error when they are too few or too small."""
    sizes = {str(k): int(v) for k, v in labels[labels != ""].value_counts(sort=True).items()}
    lost = journal.losses()
    so_far = f" (before that, {lost})" if lost else ""
    if len(sizes) < 2:
        raise InputError(
            f"The label column {label!r} has one class only, {next(iter(sizes), 'none')!r} with "
            f"{count(sum(sizes.values()), 'sample')}{so_far}. Two or more classes are needed: name "
            "another column with --params=label=COLUMN, or add samples of another class."
        )
    small = {name: size for name, size in sizes.items() if size < min_per_class}
    numeric = bool(pd.to_numeric(pd.Series(list(sizes)), errors="coerce").notna().all())
    if len(sizes) > MANY_CLASSES and (numeric or len(small) > len(sizes) / 2):
        kind = "numbers (is it a measurement?)" if numeric else "values (is it an id?)"
        raise InputError(
            f"The label column {label!r} has {len(sizes)} different {kind}. A label names a few "
            "classes: choose another column with --params=label=COLUMN, or make classes of it in "
            "the sample sheet."
        )
    if small:
        listed = some([f"{name} {size}" for name, size in small.items()], 6)
        raise InputError(
            f"Each class needs at least {count(min_per_class, 'sample')}, but {label!r} has: "
            f"{listed}{so_far}. All classes: "
            f"{some([f'{name} {size}' for name, size in sizes.items()], 10)}. Merge or leave out "
            "small classes in the sample sheet (an empty label leaves a sample out), or choose "
            "another column."
        )
    alike = _alike(list(sizes))
    if alike:
        journal.step(
            "label", f"classes that differ only in case or spaces: {'; '.join(alike)}", warning=True
        )
    return sizes


def check_groups(obs: pd.DataFrame, group: str, journal: Journal) -> pd.Series:
    """Groups as text; a sample without a group is a group of its own, which is told."""
    groups = as_text(require_column(obs, group, "group"))
    missing = groups.isna()
    if missing.all():
        raise InputError(
            f"The group column {group!r} is empty in all samples. Leave group out, or name another "
            "column."
        )
    if missing.any():
        own = pd.Series([f"alone:{name}" for name in obs.index], index=obs.index, dtype=object)
        groups = groups.where(~missing, own)
        journal.step(
            "group",
            f"{count(int(missing.sum()), 'sample')} without a value in {group!r} taken as groups "
            "of their own",
            warning=True,
        )
    largest = int(groups.value_counts().iloc[0])
    journal.step(
        "group",
        f"{count(groups.nunique(), 'group')} by {group!r}, "
        + ("one sample each" if largest == 1 else f"the largest of {largest} samples"),
    )
    return groups


def hint_at_groups(
    obs: pd.DataFrame, journal: Journal, role: str = "group", row: str = "sample"
) -> None:
    """Warn when persons seem to repeat and no group keeps their samples together."""
    for name in map(str, obs.columns):
        if not PERSON.search(name.lower()):
            continue
        sizes = as_text(obs[name]).value_counts()
        if 2 < len(sizes) < 0.95 * len(obs) and sizes.iloc[0] > 1:
            journal.step(
                role,
                f"column {name!r} has {len(sizes):,} different values in {len(obs):,} {row}s: if "
                f"{row}s of one person must not be in training and in test, say "
                f"--params={role}={name}",
                warning=True,
            )
            return


def _alike(names: list[str]) -> list[str]:
    """Names that become the same without case and spaces, in words."""
    by_key: dict[str, list[str]] = {}
    for name in names:
        by_key.setdefault("".join(name.lower().split()), []).append(name)
    return [" and ".join(map(repr, same)) for same in by_key.values() if len(same) > 1]
