import time

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from tissue_tables import GENES, histology, spots

from synthome.errors import InputError
from synthome.plotting import tissue_map
from synthome.plotting.style import SYNTHETIC, png_bytes
from synthome.plotting.tissue_map import (
    discordance_figure,
    domains_figure,
    genes_figure,
    in_order,
    key_genes,
    label_colours,
    pseudotime_figure,
)


def titles(figure):
    return [ax.get_title(loc="left") for ax in figure.axes if ax.get_title(loc="left")]


def colours_at(ax):
    marks = ax.collections[0]
    at = map(tuple, np.asarray(marks.get_offsets()))
    return dict(zip(at, map(to_hex, marks.get_facecolors()), strict=True))


def test_every_section_is_shown_with_its_labels_domains_and_refined_domains():
    table = spots(("a", "b"), side=10)
    figure = domains_figure(table)
    assert titles(figure) == [
        f"{kind}\n{section}"
        for kind in ("Label", "Domain", "Domain, refined")
        for section in ("a", "b")
    ]
    shown = sum(len(ax.collections[0].get_offsets()) for ax in figure.axes)
    assert shown == 3 * len(table)
    assert png_bytes(figure, dpi=30) == png_bytes(domains_figure(table), dpi=30)


def test_spots_of_a_domain_share_a_colour_and_others_do_not():
    table = spots(("a",), side=10)
    at = colours_at(domains_figure(table).axes[1])
    pairs = {(d, at[x, y]) for d, x, y in zip(table["domain"], table["x"], table["y"], strict=True)}
    assert len(pairs) == table["domain"].nunique() == len({colour for _, colour in pairs})


def test_y_runs_downwards_as_in_the_image():
    for ax in domains_figure(spots(("a",), side=8)).axes:
        bottom, top = ax.get_ylim()
        assert bottom > top


def test_without_labels_there_is_no_row_of_labels(texts_of):
    figure = domains_figure(spots(("a",), side=8, labelled=False))
    assert titles(figure) == ["Domain", "Domain, refined"]
    assert "no label" not in texts_of(figure)


def test_a_label_has_the_colour_of_the_domain_that_it_shares_most_spots_with():
    table = pd.DataFrame(
        {"label": ["b", "b", "b", "a", "a", "c", ""], "domain": ["1", "1", "2", "2", "2", "1", "1"]}
    )
    colours = {"1": "#111111", "2": "#222222"}
    found = label_colours(table, colours)
    assert (found["b"], found["a"]) == ("#111111", "#222222")
    assert found["c"] not in colours.values()
    assert "" not in found
    assert label_colours(table.assign(label=""), colours) == {}


def test_the_image_lies_behind_the_spots_in_their_coordinates():
    table = spots(("a", "b"), side=8)
    pixels, scale = histology(table[table["section"] == "a"])
    figure = domains_figure(table, {"a": (pixels, scale)})
    left, right = figure.axes[:2]
    (image,) = left.images
    assert image.get_extent() == pytest.approx(
        (0, pixels.shape[1] / scale, pixels.shape[0] / scale, 0)
    )
    assert not right.images
    assert left.get_xlim()[0] > 0  # the view is of the spots


def test_a_large_image_is_thinned_and_a_wrong_one_is_refused():
    table = spots(("a",), side=6)
    figure = domains_figure(table, {"a": (np.zeros((4000, 2000, 3), np.uint8), 0.5)})
    assert max(figure.axes[0].images[0].get_array().shape) <= tissue_map.IMAGE_SIDE
    for pixels, scale in ((np.zeros((9, 9)), 1.0), (np.zeros((9, 9, 3)), 0.0)):
        with pytest.raises(InputError, match="histology image"):
            domains_figure(table, {"a": (pixels, scale)})


def test_spots_that_disagree_are_outlined_and_the_planted_ones_below():
    table = spots(("a",), side=18)
    table["disagrees"] = False
    table.loc[[3, 40], "disagrees"] = True
    figure = discordance_figure(table)
    called, planted = figure.axes[:2]
    (line,) = called.lines
    assert line.get_markeredgecolor() == SYNTHETIC
    drawn = set(zip(line.get_xdata(), line.get_ydata(), strict=True))
    assert drawn == set(zip(table["x"][[3, 40]], table["y"][[3, 40]], strict=True))
    assert len(planted.lines[0].get_xdata()) == int(table["planted"].sum())


def test_without_planted_truth_one_row_is_enough():
    figure = discordance_figure(spots(("a", "b"), side=8, planted=False))
    assert len(titles(figure)) == 2


def test_a_spot_without_a_value_is_left_out():
    table = spots(("a",), side=8)
    table.loc[:9, "pseudotime"] = np.nan
    ax = pseudotime_figure(table).axes[0]
    assert len(ax.collections[0].get_offsets()) == 64 - 10
    png_bytes(pseudotime_figure(table.assign(pseudotime=np.nan)), dpi=30)
    png_bytes(discordance_figure(table.assign(kl=np.nan)), dpi=30)


def test_a_gene_has_one_scale_for_observed_and_denoised():
    table = spots(("a", "b"), side=8)
    table = table.drop(index=range(5))  # section b has more spots
    figure = genes_figure(table)
    assert titles(figure) == list(GENES)
    assert key_genes(table) == list(GENES)
    same = table["section"] == "b"
    table.loc[same, f"observed:{GENES[0]}"] = table.loc[same, f"denoised:{GENES[0]}"]
    observed, denoised = (genes_figure(table).axes[i] for i in (0, len(GENES)))
    assert len(observed.collections[0].get_offsets()) == 64
    assert list(colours_at(observed).values()) == list(colours_at(denoised).values())


def test_many_spots_are_painted_and_quickly(monkeypatch):
    monkeypatch.setattr(tissue_map, "DENSE", 500)
    table = spots(("a",), side=60)
    figure = domains_figure(table)
    assert not figure.axes[0].collections
    for ax in figure.axes:
        canvas = np.asarray(ax.images[0].get_array())
        assert (canvas[..., 3] == 1.0).mean() > 0.9  # no holes
    layers = figure.axes[2].images[0].get_array()
    order = {name: i for i, name in enumerate(in_order(table["refined"]))}
    first, last = layers[1, 1, :3], layers[-2, -2, :3]
    assert to_hex(first) == tissue_map.GROUP_COLOURS[order["1"]].lower()
    assert to_hex(last) == tissue_map.GROUP_COLOURS[order["6"]].lower()


def test_half_a_million_spots_take_seconds():
    rng = np.random.default_rng(0)
    n = 500_000
    table = pd.DataFrame(
        {"section": "a", "x": rng.uniform(0, 1e4, n), "y": rng.uniform(0, 1e4, n),
         "pseudotime": rng.random(n)}
    )  # fmt: skip
    start = time.process_time()
    png_bytes(pseudotime_figure(table), dpi=60)
    assert time.process_time() - start < 10.0


def test_more_sections_than_fit_are_counted(texts_of):
    n = tissue_map.MOST_SECTIONS + 2
    figure = pseudotime_figure(spots([f"s{i}" for i in range(n)], side=3))
    assert len(titles(figure)) == tissue_map.MOST_SECTIONS
    assert f"The first 12 of {n} sections" in texts_of(figure)


def test_one_spot_and_names_that_look_like_formulas_are_drawn():
    table = spots(("$x$",), side=3).iloc[:1].assign(label="a$_b$")
    figure = domains_figure(table)
    png_bytes(figure, dpi=30)
    assert not any(t.get_parse_math() for t in figure.legends[0].get_texts())


def test_a_table_without_spots_or_genes_is_an_error():
    table = spots(("a",), side=3)
    for draw in (domains_figure, discordance_figure, pseudotime_figure, genes_figure):
        with pytest.raises(InputError, match="no row"):
            draw(table.iloc[:0])
    with pytest.raises(InputError, match="observed:GENE"):
        genes_figure(table[["section", "x", "y"]])
