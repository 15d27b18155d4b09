"""Maps of a tissue: spots where they lie, over the histology where it is given.

Sections stand side by side, each on its own scale, with y downwards as in the image. A section with
many spots is painted pixel by pixel, since so many marks would cover one another anyway.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from synthome.errors import InputError
from synthome.plotting.cell_map import GROUP_COLOURS
from synthome.plotting.style import (
    FAINT,
    INK,
    MUTED,
    SYNTHETIC,
    as_plain_text,
    legend_columns,
    new_figure,
    short,
    styled,
)
from synthome.rng import generator

KINDS = {"label": "Label", "domain": "Domain", "refined": "Domain, refined",
         "estimated": "Domain, number estimated"}  # fmt: skip
UNLABELLED = "no label"
MOST_SECTIONS = 12
COLUMNS = 4  # sections side by side
PANEL = 2.5  # inches
DENSE = 40_000  # spots of a section above which pixels are painted
CRISP = 1_500  # spots of a section from which marks have no soft edges: files a fifth as large
PER_PIXEL = 3.0  # spots in a painted pixel
IMAGE_SIDE = 900  # pixels of a histology image are thinned to about this many along a side
LIMITS = (0.01, 0.99)  # of the values that a colour scale spans
SCALE = "viridis"


Histology = tuple[np.ndarray, float]
"""RGB, (height, width, 3), uint8 or float from 0 to 1; its pixels in one full-resolution pixel."""
Images = Mapping[str, Histology]


@styled
def domains_figure(spots: pd.DataFrame, images: Images | None = None) -> Figure:
    """Labels where there are any, domains, and refined domains, a row of panels for each.

    A label has the colour of the domain that it shares most spots with, each colour once.

    Parameters
    ----------
    spots
        Columns ``section``, ``x``, ``y``, ``label`` ("" where unknown), ``domain``, ``refined``.
    images
        Histology by section, for those that have one.
    """
    _check(spots)
    kinds = ["domain", "refined"]
    if (spots["label"].astype(str) != "").any():
        kinds.insert(0, "label")
    colours = _domain_colours(spots)
    looks = {kind: colours for kind in kinds} | {"label": label_colours(spots, colours)}

    def draw(ax: Axes, kind: str, of: pd.DataFrame, size: float) -> None:
        groups = of[kind].astype(str).to_numpy()
        rgba = np.array([to_rgba(looks[kind].get(name, FAINT)) for name in groups])
        _spots(ax, of, rgba.reshape(-1, 4), size)

    figure = _grid(spots, kinds, KINDS, draw, images)
    _name_groups(figure, spots, looks, "label" in kinds)
    return figure


@styled
def discordance_figure(spots: pd.DataFrame, images: Images | None = None) -> Figure:
    """Divergence of posterior and prior; spots that disagree with the image are outlined.

    Where a disagreement was planted, a second row outlines the spots that it was planted in.
    """
    _check(spots)
    norm = _norm(spots["kl"])
    rows = {"disagrees": "KL, outlined: called"}
    if np.isfinite(spots["planted"].to_numpy(dtype=float)).any():
        rows["planted"] = "KL, outlined: planted"

    def draw(ax: Axes, kind: str, of: pd.DataFrame, size: float) -> None:
        _values(ax, of, of["kl"].to_numpy(dtype=float), norm, size)
        _outline(ax, of[of[kind].fillna(0).astype(bool)], size)

    figure = _grid(spots, list(rows), rows, draw, images)
    _scale(figure, norm, "KL (nats)")
    handle = Line2D([], [], linestyle="none", marker="o", mfc="none", mec=SYNTHETIC, mew=1.4,
                    label="outlined spots")  # fmt: skip
    figure.legend(handles=[handle], loc="outside lower left", labelcolor=INK)
    return figure


@styled
def pseudotime_figure(spots: pd.DataFrame, images: Images | None = None) -> Figure:
    """Pseudotime of each spot; spots without one are left out."""
    _check(spots)
    norm = _norm(spots["pseudotime"])

    def draw(ax: Axes, kind: str, of: pd.DataFrame, size: float) -> None:
        _values(ax, of, of[kind].to_numpy(dtype=float), norm, size)

    figure = _grid(spots, ["pseudotime"], {"pseudotime": "Pseudotime"}, draw, images)
    _scale(figure, norm, "Pseudotime")
    return figure


@styled
def genes_figure(spots: pd.DataFrame) -> Figure:
    """Key genes as observed and as denoised, in the section with the most spots.

    Both maps of a gene have one colour scale, that of the denoised values.
    """
    _check(spots)
    genes = key_genes(spots)
    if not genes:
        raise InputError(
            "The map of genes needs columns observed:GENE and denoised:GENE; the table of spots "
            "has neither."
        )
    section = spots["section"].astype(str).value_counts().index[0]
    of = spots[spots["section"].astype(str) == section]
    figure = new_figure(height=3.5 * _ratio(of) + 0.8, width=max(1.75 * len(genes), 4.0))
    panels = figure.subplots(2, len(genes), squeeze=False)
    size = _diameter(of, 1.6)
    for column, gene in zip(panels.T, genes, strict=True):
        norm = _norm(of[f"denoised:{gene}"])
        for ax, kind in zip(column, ("observed", "denoised"), strict=True):
            _frame(ax, of)
            _values(ax, of, of[f"{kind}:{gene}"].to_numpy(dtype=float), norm, size)
        as_plain_text([column[0].set_title(short(gene))])
    panels[0, 0].set_ylabel("Observed")
    panels[1, 0].set_ylabel("Denoised")
    as_plain_text([figure.text(0.01, 0.0, f"Section {short(section)}", color=MUTED, va="top")])
    return figure


def key_genes(spots: pd.DataFrame) -> list[str]:
    """Genes that are given both as observed and as denoised, in the order of the table."""
    names = [str(c).removeprefix("denoised:") for c in spots if str(c).startswith("denoised:")]
    return [name for name in names if f"observed:{name}" in spots]


def in_order(names: "pd.Series[str]") -> list[str]:
    """Domains by number, other names by letter; the empty one is left out."""
    found = [name for name in names.astype(str).unique() if name]
    return sorted(found, key=lambda n: (not n.isdigit(), int(n) if n.isdigit() else 0, n))


def label_colours(spots: pd.DataFrame, colours: Mapping[str, str]) -> dict[str, str]:
    """Colour of each label: that of its domain, in the match that shares the most spots."""
    from scipy.optimize import linear_sum_assignment

    known = spots[spots["label"].astype(str) != ""]
    labels = in_order(known["label"])
    if not labels:
        return {}
    shared = pd.crosstab(known["label"].astype(str), known["domain"].astype(str))
    shared = shared.reindex(index=labels)
    rows, columns = linear_sum_assignment(-shared.to_numpy())
    found = {labels[i]: colours[shared.columns[j]] for i, j in zip(rows, columns, strict=True)}
    left = iter([c for c in GROUP_COLOURS if c not in set(found.values())] * len(labels))
    return {name: found[name] if name in found else next(left, FAINT) for name in labels}


def _domain_colours(spots: pd.DataFrame) -> dict[str, str]:
    names = in_order(pd.concat([spots["domain"], spots["refined"]]))
    return {name: GROUP_COLOURS[i % len(GROUP_COLOURS)] for i, name in enumerate(names)}


def _check(spots: pd.DataFrame) -> None:
    if spots.empty:
        raise InputError("A map of a tissue needs spots, but the table of spots has no row.")


def _grid(
    spots: pd.DataFrame,
    kinds: Sequence[str],
    titles: Mapping[str, str],
    draw: Callable[[Axes, str, pd.DataFrame, float], None],
    images: Images | None,
) -> Figure:
    """A row of panels for each kind, a column for each section; many sections go on below."""
    sections = list(dict.fromkeys(spots["section"].astype(str)))
    shown = sections[:MOST_SECTIONS]
    n_columns = min(len(shown), COLUMNS)
    blocks = [shown[i : i + n_columns] for i in range(0, len(shown), n_columns)]
    panel = PANEL if n_columns > 1 else 1.5 * PANEL
    tall = panel * max(_ratio(of) for _, of in spots.groupby("section")) + 0.4
    if n_columns == 1 and len(kinds) > 1:  # one section: its maps stand side by side
        figure = new_figure(height=tall + 0.6, width=panel * len(kinds) + 0.3)
        panels = figure.subplots(1, len(kinds), squeeze=False).T
    else:
        n_rows = len(blocks) * len(kinds)
        figure = new_figure(height=tall * n_rows + 0.8, width=max(panel * n_columns + 0.5, 5.0))
        panels = figure.subplots(n_rows, n_columns, squeeze=False)
    by_section = {str(name): of for name, of in spots.groupby(spots["section"].astype(str))}
    for b, block in enumerate(blocks):
        for k, kind in enumerate(kinds):
            row = panels[b * len(kinds) + k]
            for ax, section in zip(row, block, strict=False):
                of = by_section[section]
                of = of.iloc[generator(0, "tissue map").permutation(len(of))]
                _frame(ax, of, (images or {}).get(section))
                draw(ax, kind, of, _diameter(of, panel))
                name = f"\n{short(section)}" if len(sections) > 1 else ""
                as_plain_text([ax.set_title(f"{titles[kind]}{name}", fontsize=8.5)])
            for ax in row[len(block) :]:
                ax.set_axis_off()
    if len(sections) > len(shown):
        figure.text(0.99, 0.0, f"The first {len(shown)} of {len(sections)} sections", ha="right",
                    va="top", color=MUTED)  # fmt: skip
    return figure


def _frame(ax: Axes, of: pd.DataFrame, image: Histology | None = None) -> None:
    """Bounds of a section with a little room, y downwards, and the image behind."""
    low, high = _bounds(of)
    room = 0.03 * max(float((high - low).max()), 1.0)
    if image is not None:
        pixels, scale = np.asarray(image[0]), float(image[1])
        if pixels.ndim != 3 or pixels.shape[2] < 3 or not scale > 0:
            raise InputError(
                "A histology image must be (height, width, 3) with a scale above 0, but one has "
                f"shape {pixels.shape} and scale {scale:g}."
            )
        step = max(1, -(-max(pixels.shape[:2]) // IMAGE_SIDE))
        height, width = (side / scale for side in pixels.shape[:2])
        ax.imshow(pixels[::step, ::step, :3], extent=(0, width, height, 0), zorder=0)
    ax.set_aspect("equal")
    ax.set_xlim(low[0] - room, high[0] + room)
    ax.set_ylim(high[1] + room, low[1] - room)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)


def _bounds(of: pd.DataFrame) -> tuple[Float[np.ndarray, " 2"], Float[np.ndarray, " 2"]]:
    at = of[["x", "y"]].to_numpy(dtype=float)
    return at.min(axis=0), at.max(axis=0)


def _ratio(of: pd.DataFrame) -> float:
    """Height over width of a section, within what a panel can be."""
    low, high = _bounds(of)
    width, height = np.maximum(high - low, 1e-9)
    return float(np.clip(height / width, 0.4, 1.4))


def _diameter(of: pd.DataFrame, panel: float) -> float:
    """Diameter of a spot in points, so that spots on a grid nearly touch."""
    low, high = _bounds(of)
    side = np.maximum(high - low, 1e-9)
    spacing = float(np.sqrt(side.prod() / max(len(of), 1))) / float(side.max())
    return float(np.clip(0.8 * spacing * 72 * 0.9 * panel, 0.6, 9.0))


def _spots(ax: Axes, of: pd.DataFrame, rgba: Float[np.ndarray, "n 4"], size: float) -> None:
    """Draw spots in their colours: marks, or painted pixels where they are many."""
    if len(of) <= DENSE:
        ax.scatter(of["x"], of["y"], s=size**2, c=rgba, linewidths=0, rasterized=True,
                   antialiased=len(of) < CRISP, zorder=2)  # fmt: skip
        return
    low, high = _bounds(of)
    pixel = float(np.sqrt((high - low).prod() * PER_PIXEL / len(of))) or 1.0
    width, height = (int(n) + 1 for n in (high - low) // pixel)
    at = ((of[["x", "y"]].to_numpy(dtype=float) - low) // pixel).astype(np.int64)
    canvas = np.zeros((height * width, 4))
    canvas[at[:, 1] * width + at[:, 0]] = rgba  # in random order: the last one stays
    right, below = low + pixel * np.array([width, height])
    ax.imshow(canvas.reshape(height, width, 4), extent=(low[0], right, below, low[1]),
              interpolation="nearest", aspect="equal", zorder=2)  # fmt: skip


def _values(
    ax: Axes, of: pd.DataFrame, values: Float[np.ndarray, " n"], norm: Normalize, size: float
) -> None:
    known = np.isfinite(values)
    if known.any():
        _spots(ax, of[known], colormaps[SCALE](norm(values[known])), size)


def _outline(ax: Axes, of: pd.DataFrame, size: float) -> None:
    ax.plot(of["x"], of["y"], linestyle="none", marker="o", mfc="none", mec=SYNTHETIC,
            ms=max(size, 1.5), mew=max(0.22 * size, 0.4), rasterized=True, zorder=3)  # fmt: skip


def _norm(values: "pd.Series[float]") -> Normalize:
    """From the 1st to the 99th percent of what is known."""
    known = values.to_numpy(dtype=float)
    known = known[np.isfinite(known)]
    low, high = np.quantile(known, LIMITS) if len(known) else (0.0, 1.0)
    return Normalize(float(low), float(high) if high > low else float(low) + 1.0, clip=True)


def _scale(figure: Figure, norm: Normalize, words: str) -> None:
    bar = figure.colorbar(ScalarMappable(norm, SCALE), ax=figure.axes, shrink=0.7, pad=0.02,
                          aspect=25)  # fmt: skip
    bar.set_label(words)
    bar.outline.set_visible(False)


def _name_groups(
    figure: Figure, spots: pd.DataFrame, looks: Mapping[str, Mapping[str, str]], labelled: bool
) -> None:
    entries = [(f"domain {name}", colour) for name, colour in looks["domain"].items()]
    if labelled:
        entries += [(short(name), colour) for name, colour in looks["label"].items()]
        if (spots["label"].astype(str) == "").any():
            entries.append((UNLABELLED, FAINT))
    handles = [
        Line2D([], [], linestyle="none", marker="s" if i < len(looks["domain"]) else "o",
               markersize=6, color=colour, label=name)
        for i, (name, colour) in enumerate(entries)
    ]  # fmt: skip
    width = float(figure.get_size_inches()[0])
    ncols = legend_columns([name for name, _ in entries], most=8, width=width)
    legend = figure.legend(handles=handles, loc="outside lower left", ncols=ncols, labelcolor=INK)
    as_plain_text(legend.get_texts())
