import numpy as np
import pytest
from matplotlib.colors import to_hex
from perturbation_tables import TYPES, map_points

from synthome.errors import InputError
from synthome.plotting.cell_map import CONDITIONS, NUMBER, cell_map_figure
from synthome.plotting.style import png_bytes


@pytest.fixture(scope="module")
def points():
    return map_points(100)


def test_the_same_cells_are_shown_by_type_condition_and_cluster(points):
    figure = cell_map_figure(points)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == [
        "Cell type (12)",
        "Condition",
        f"Leiden cluster ({points['leiden'].nunique()})",
    ]
    drawn = [ax.collections[0].get_offsets() for ax in figure.axes]
    assert all(np.array_equal(drawn[0], other) for other in drawn[1:])
    np.testing.assert_allclose(np.sort(drawn[0][:, 0]), np.sort(points["umap_1"]))
    assert png_bytes(figure, dpi=40) == png_bytes(cell_map_figure(points), dpi=40)


def test_each_cell_has_the_colour_of_its_condition(points):
    ax = cell_map_figure(points).axes[1]
    at = {tuple(p): to_hex(c, keep_alpha=False).upper()
          for p, c in zip(ax.collections[0].get_offsets(), ax.collections[0].get_facecolors(),
                          strict=True)}  # fmt: skip
    for _, row in points.iterrows():
        assert at[row["umap_1"], row["umap_2"]] == CONDITIONS[row["condition"]][1]


def test_no_condition_lies_on_top_of_the_others(points):
    ax = cell_map_figure(points).axes[1]
    colours = [to_hex(c) for c in ax.collections[0].get_facecolors()]
    last = colours[-100:]
    assert min(last.count(colour) for colour in set(colours)) > 15


def test_each_type_has_a_number_on_one_of_its_cells_and_in_the_legend(points):
    figure = cell_map_figure(points)
    ax, names = figure.axes[0], sorted(TYPES)
    numbers = {text.get_text(): text.xy for text in ax.texts}
    assert sorted(numbers, key=int) == [str(i + 1) for i in range(len(TYPES))]
    for number, position in numbers.items():
        of = points[points["cell_type"] == names[int(number) - 1]]
        assert tuple(position) in set(zip(of["umap_1"], of["umap_2"], strict=True))
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [f"{i + 1}  {name}" for i, name in enumerate(names)]


def test_numbers_of_types_in_one_place_do_not_cover_one_another():
    points = map_points(900, TYPES[:4])
    for axis in ("umap_1", "umap_2"):
        points[axis] = np.random.default_rng(0).normal(size=len(points))
    at = np.array([text.xy for text in cell_map_figure(points).axes[0].texts])
    apart = NUMBER * np.ptp(points[["umap_1", "umap_2"]].to_numpy(), axis=0)
    gaps = np.linalg.norm((at[:, None] - at) / apart, axis=2)
    assert gaps[np.triu_indices(4, 1)].min() >= 1.0


def test_the_number_of_a_tiny_island_does_not_hide_it():
    points = map_points(100, TYPES[:3])
    tiny = points["cell_type"] == TYPES[1]
    points.loc[tiny, ["umap_1", "umap_2"]] *= 1e-3
    above = {text.get_text(): text.xyann[1] for text in cell_map_figure(points).axes[0].texts}
    assert sorted(above.values()) == [0, 0, 9]
    assert above[str(sorted(TYPES[:3]).index(TYPES[1]) + 1)] == 9


def test_clusters_are_ordered_as_numbers_and_names_are_no_formulas(points):
    few = points[points["leiden"].isin(["2", "10"])].assign(cell_type="a$_b$")
    figure = cell_map_figure(few)
    assert [text.get_text() for text in figure.axes[2].texts] == ["2", "10"]
    assert not figure.legends[0].get_texts()[0].get_parse_math()


def test_a_map_without_points_or_groups_is_an_error(points):
    with pytest.raises(InputError, match="0 points"):
        cell_map_figure(points.iloc[:0])
    with pytest.raises(InputError, match="at least one of cell_type"):
        cell_map_figure(points[["umap_1", "umap_2"]])
