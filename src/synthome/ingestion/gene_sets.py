"""Lists of genes as people have them, and where they are among the genes of some cells.

==================  ===============================================================================
GMT                 a line per set: name, description, genes, with tabs between them
text                a gene a line: one set, named as the file
table of sets       a column that names the set, and one with the gene
table of genes      a column with the gene: one set, named as the file
table of tests      a column with the gene, a fold change and an adjusted p-value: ``..._up`` and
                    ``..._down``, each the genes with p < 0.05 that have the smallest p
==================  ===============================================================================

A gene is looked for as written, then in any case (mouse symbols are human ones in small letters),
then under the name that a spreadsheet spoiled or that HGNC changed for it, then under the aliases
that the person gives.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from synthome.errors import InputError
from synthome.ingestion.files import read_bytes, read_table, refuse_other_formats
from synthome.ingestion.genes import without_versions
from synthome.ingestion.journal import Entry, Journal, count, some
from synthome.ingestion.sheet import as_text
from synthome.ingestion.symbols import inspect, other_name

GeneSets = dict[str, list[str]]

SET_COLUMNS = ("set", "geneset", "set_name", "term", "pathway", "signature", "list", "module")
GENE_COLUMNS = (
    "symbol", "gene", "gene_symbol", "gene_name", "genes", "hgnc_symbol", "feature_name", "name",
)  # fmt: skip
ID_COLUMNS = ("ensembl", "ensembl_id", "ensembl_gene_id", "gene_id", "gene_ids", "entrez_id")
CHANGE_COLUMNS = ("log2fc", "log2foldchange", "logfc", "lfc", "avg_log2fc", "log_fold_change")
TEST_COLUMNS = ("padj", "adj_p_val", "p_val_adj", "fdr", "qvalue", "q_value", "pvals_adj")
HEADERS = frozenset((*GENE_COLUMNS, *ID_COLUMNS))
SIGNIFICANT = 0.05
MOST_TESTED = 100  # genes of each direction that a table of tests gives
ENOUGH = 0.5  # share of a set that should be found
WORD = r"(?<![a-z]){}(?![a-z])"
SEPARATED = re.compile(r"[\t,;|]")


def read_gene_sets(path: str | Path, most: int = MOST_TESTED) -> GeneSets:
    """Read one file of gene lists; the form is taken from its content.

    Parameters
    ----------
    path
        GMT, text, CSV, TSV (all also with ``.gz``) or Parquet.
    most
        How many genes of each direction a table of tests gives.

    Raises
    ------
    InputError
        If the file is missing or damaged, or if no gene can be found in it.
    """
    path = Path(path).expanduser().absolute()
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the file with the gene lists.")
    data, _ = read_bytes(path)
    refuse_other_formats(data, path)
    if ".parquet" in path.name.lower() or data.startswith(b"PAR1"):
        sets = _from_table(read_table(path).frame, path, most)
    else:
        lines = [
            line.rstrip("\r")
            for line in data.decode("utf-8-sig", errors="replace").split("\n")
            if line.strip() and not line.startswith("#")
        ]
        if _is_gmt(lines, path):
            sets = _from_gmt(lines, path)
        elif not any(SEPARATED.search(line) for line in lines):
            sets = {_stem(path): [line.strip() for line in lines if not _is_header(line)]}
        else:
            sets = _from_table(read_table(path, text=True).frame, path, most)
    sets = {
        name.replace("/", "_"): list(dict.fromkeys(filter(None, genes)))  # h5ad has no / in names
        for name, genes in sets.items()
        if any(genes)
    }
    if not sets:
        raise InputError(f"{path} holds no genes. Give one symbol a line, a GMT file or a table.")
    return sets


def choose_roles(
    sets: Iterable[str], down: str | None = None, up: str | None = None
) -> dict[str, str]:
    """Which set is turned down and which up: as the person says, else the only one named so.

    Returns
    -------
    ``{"down": name, "up": name}``, without a role for which there is no set or more than one.

    Raises
    ------
    InputError
        If a set that the person names does not exist.
    """
    names, roles = list(sets), {}
    for role, asked in (("down", down), ("up", up)):
        fit = [name for name in names if re.search(WORD.format(role), name, re.I)]
        if asked is not None and asked not in names:
            raise InputError(
                f"There is no gene set {asked!r} to turn {role}. The list has: "
                f"{some(names, 20) or 'none'}. Name one with --params={role}=SET."
            )
        if asked is not None or len(fit) == 1:
            roles[role] = asked or fit[0]
    return roles


def match_genes(
    sets: Mapping[str, Sequence[str]],
    var: pd.DataFrame,
    aliases: Mapping[str, str] | None = None,
    needed: Iterable[str] = (),
) -> tuple[GeneSets, dict[str, Any]]:
    """Find the genes of each set among those of a cohort.

    Parameters
    ----------
    sets
        Genes by set, as they are written in a list.
    var
        One row per gene of the cohort: names in the index, and perhaps more of them in columns
        such as ``symbol`` or ``ensembl``.
    aliases
        Another name of a gene to the one that is in use.
    needed
        Names of sets without which the analysis has no meaning.

    Returns
    -------
    Names in the index of ``var`` by set, in the order of the list; and a report with what was
    found, by which rule, and what was not.

    Raises
    ------
    InputError
        If a needed set has no gene in the cohort, or if no set has any.
    """
    rules = _rules(var, aliases or {})
    matched: GeneSets = {}
    journal = Journal("gene sets")
    report: dict[str, Any] = {"sets": {}}
    for name, genes in sets.items():
        found, not_found, by = _match(genes, rules)
        matched[name] = list(dict.fromkeys(there for names in found.values() for there in names))
        share = len(found) / max(len(genes), 1)
        report["sets"][name] = {
            "n_given": len(genes),
            "n_found": len(found),
            "found_by": {rule: by.count(rule) for rule in dict.fromkeys(by)},
            "renamed": {gene: names for gene, names in found.items() if list(names) != [gene]},
            "not_found": not_found,
        }
        told = f"{name}: {len(found)} of {count(len(genes), 'gene')} found"
        if not_found:
            told += f"; not found: {some(not_found, 6)}"
        journal.step("gene sets", told, warning=share < ENOUGH)
    lost = [name for name in needed if not matched[name]]
    if sets and (lost or not any(matched.values())):
        name = lost[0] if lost else next(iter(sets))
        raise InputError(
            f"None of the {count(len(sets[name]), 'gene')} of {name!r} ({some(sets[name])}) is "
            f"among the {len(var):,} genes of the cells ({some(var.index)}). Use a list of the "
            "same species and kind of names, or give the cells a column with symbols in var."
        )
    return matched, report | _told(journal.entries)


def read_aliases(path: str | Path) -> dict[str, str]:
    """A table of two columns, another name and the name in use, as a dict."""
    frame = read_table(Path(path).expanduser().absolute(), text=True).frame
    if frame.shape[1] < 2:
        raise InputError(
            f"{path} has one column. A table of aliases needs two: another name of a gene, and the "
            "name in use."
        )
    other, used = (as_text(frame.iloc[:, i]) for i in (0, 1))
    known = other.notna() & used.notna()
    return dict(zip(other[known], used[known], strict=True))


Rule = tuple[str, Callable[[str], list[str]]]


def _rules(var: pd.DataFrame, aliases: Mapping[str, str]) -> list[Rule]:
    """How a gene is looked for, in order; each rule gives names in the index of ``var``."""
    index = var.index.astype(str)
    spellings = [index, pd.Index(without_versions(index.to_numpy(dtype=object))[0])]
    more = [name for name in var.columns if str(name).lower() in HEADERS]
    spellings += [pd.Index(as_text(var[name]).fillna("")) for name in more]
    exact, folded = _places(spellings, str), _places(spellings, str.casefold)

    def as_written(gene: str) -> list[str]:
        return exact.get(gene, [])

    def in_any_case(gene: str) -> list[str]:
        return folded.get(gene.casefold(), [])

    def renamed(gene: str) -> list[str]:
        spoiled = None if gene.isdigit() else inspect(gene)  # a number is an Entrez id
        candidates = spoiled.likely if spoiled and spoiled.certain else []
        candidates = [*candidates, *filter(None, map(other_name, [gene, *candidates]))]
        return next(filter(None, map(in_any_case, candidates)), [])

    def by_alias(gene: str) -> list[str]:
        used = aliases.get(gene) or by_case.get(gene.casefold())
        return in_any_case(used) if used else []

    by_case = {other.casefold(): used for other, used in aliases.items()}
    return [
        ("as written", as_written),
        ("in another case", in_any_case),
        ("by its new or former name", renamed),
        ("by alias", by_alias),
    ]


def _places(spellings: list[pd.Index], key: Callable[[str], str]) -> dict[str, list[str]]:
    """Names in the index by each spelling; the first kind of spelling that has it counts."""
    found: dict[str, list[str]] = {}
    for names in spellings:
        new: dict[str, list[str]] = {}
        for name, place in zip(names, spellings[0], strict=True):
            if name and key(name) not in found:
                new.setdefault(key(name), []).append(place)
        found |= new
    return found


def _match(
    genes: Sequence[str], rules: list[Rule]
) -> tuple[dict[str, list[str]], list[str], list[str]]:
    """Names of each gene that was found, the genes that were not, and the rule for each found."""
    found: dict[str, list[str]] = {}
    not_found, by = [], []
    for gene in genes:
        for rule, look in rules:
            if names := look(str(gene).strip()):
                found[str(gene)] = names
                by.append(rule)
                break
        else:
            not_found.append(str(gene))
    return found, not_found, by


def _told(steps: list[Entry]) -> dict[str, Any]:
    return {"steps": steps, "warnings": [entry["why"] for entry in steps if entry["warning"]]}


def _stem(path: Path) -> str:
    """The name of a file without endings."""
    return path.name.removesuffix(".gz").rsplit(".", 1)[0]


def _is_header(line: str) -> bool:
    return line.strip().strip('"').lower() in HEADERS


def _is_gmt(lines: list[str], path: Path) -> bool:
    """Whether lines have a name, a description and genes, more in some than in others."""
    if path.name.lower().removesuffix(".gz").endswith(".gmt"):
        return True
    widths = {line.count("\t") for line in lines}
    return len(widths) > 1 and min(widths) >= 2


def _from_gmt(lines: list[str], path: Path) -> GeneSets:
    """The sets of a GMT file; a line that is none is an error with its number."""
    sets: GeneSets = {}
    for number, line in enumerate(lines, start=1):
        name, *rest = [field.strip() for field in line.split("\t")]
        if len(rest) < 2 or not name:
            raise InputError(
                f"{path}: set number {number} has no genes. A line of a GMT file is a name, a "
                "description and the genes, with tabs between them."
            )
        if name in sets:
            raise InputError(f"{path} has two sets called {name!r}. Give each a name of its own.")
        sets[name] = rest[1:]
    return sets


def _from_table(frame: pd.DataFrame, path: Path, most: int) -> GeneSets:
    """The sets of a table; see the head of this module."""
    by_name = {re.sub(r"[^a-z0-9]+", "_", str(c).strip().lower()): c for c in frame.columns}

    def column(names: Sequence[str]) -> pd.Series | None:
        return next((frame[by_name[n]] for n in names if n in by_name), None)

    genes, ids = column(GENE_COLUMNS), column(ID_COLUMNS)
    if genes is None and ids is None and frame.shape[1] == 1:
        genes = frame.iloc[:, 0]
    if genes is None and ids is None:
        raise InputError(
            f"{path} has no column of genes. Call it gene or symbol (and that of the sets set, if "
            f"there are several); it has: {some(list(frame.columns), 10)}."
        )
    names = as_text(genes if genes is not None else ids)
    if ids is not None:
        names = names.fillna(as_text(ids))
    names = names.fillna("")
    of_set, change, p = (column(kind) for kind in (SET_COLUMNS, CHANGE_COLUMNS, TEST_COLUMNS))
    if of_set is not None:
        return {
            str(name): names[rows].tolist()
            for name, rows in frame.groupby(as_text(of_set), sort=False).groups.items()
        }
    if change is None or p is None:
        return {_stem(path): names.tolist()}
    change, p = (pd.to_numeric(v, errors="coerce").to_numpy(np.float64) for v in (change, p))
    order = np.argsort(p, kind="stable")
    order = order[(p[order] < SIGNIFICANT) & (names.to_numpy()[order] != "")]
    return {
        f"{_stem(path)}_{word}": names.iloc[order[sign * change[order] > 0][:most]].tolist()
        for word, sign in (("up", 1), ("down", -1))
    }
