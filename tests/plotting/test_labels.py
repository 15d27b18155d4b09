import itertools

import numpy as np
import pytest

from synthome.plotting.labels import along, label_points
from synthome.plotting.style import MUTED, new_figure


def label(points, texts=None, **how):
    """Axes from 0 to 1 with labelled points, and the boxes of the labels in pixels."""
    figure = new_figure(4.0, width=6.0)
    ax = figure.add_subplot()
    ax.set(xlim=(0, 1), ylim=(0, 1))
    texts = texts or [f"generator_{i}" for i in range(len(points))]
    label_points(ax, np.asarray(points, dtype=float).reshape(-1, 2), texts, **how)
    renderer = figure.canvas.get_renderer()
    return ax, [text.get_window_extent(renderer) for text in ax.texts]


def overlap(a, b) -> float:
    wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    return max(wide, 0.0) * max(high, 0.0)


CROWDS = {
    "random": np.random.default_rng(0).uniform(0.05, 0.95, size=(20, 2)),
    "a pile at the right edge": [[1.0, 0.80 + 0.01 * i] for i in range(8)],
    "the same place": [[0.5, 0.5]] * 6,
}


@pytest.mark.parametrize("name", CROWDS)
def test_no_label_lies_over_another_or_leaves_the_axes(name):
    ax, boxes = label(CROWDS[name])
    assert len(boxes) == len(CROWDS[name])
    assert [overlap(a, b) for a, b in itertools.combinations(boxes, 2) if overlap(a, b) > 0] == []
    frame = ax.get_window_extent()
    for box in boxes:
        assert frame.x0 - 1 <= box.x0
        assert box.x1 <= frame.x1 + 1
        assert frame.y0 - 1 <= box.y0
        assert box.y1 <= frame.y1 + 1


def test_no_label_hides_a_point():
    points = CROWDS["random"]
    ax, boxes = label(points)
    pixels = ax.transData.transform(points)
    assert not any(box.contains(x, y) for box in boxes for x, y in pixels)


def test_a_lonely_point_has_its_label_close_by_and_a_crowded_one_a_leader():
    def leaders(points):
        return [line for line in label(points)[0].lines if line.get_color() == MUTED]

    assert leaders([[0.2, 0.5], [0.8, 0.5]]) == []
    found = leaders(CROWDS["the same place"])
    assert found
    for line in found:
        assert tuple(line.get_xydata()[0]) == pytest.approx((0.5, 0.5))


def test_labels_keep_off_the_spots_to_avoid():
    line = along(np.array([[0.5, 0.5], [1.0, 0.5]]), 40)
    _, (there,) = label([[0.5, 0.5]])
    ax, (kept_off,) = label([[0.5, 0.5]], avoid=line)
    pixels = ax.transData.transform(line)
    assert any(there.contains(x, y) for x, y in pixels)
    assert not any(kept_off.contains(x, y) for x, y in pixels)


def test_along_visits_every_corner():
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]])
    spots = along(corners, 3)
    np.testing.assert_allclose(spots[[0, 1, 2, 4]], [[0, 0], [0.5, 0], [1, 0], [1, 1]])
    np.testing.assert_allclose(spots[-1], corners[-1])
    assert len(along(corners[:1])) == 1


def test_names_are_no_formulas_and_nothing_to_label_is_no_error():
    ax, _ = label([[0.5, 0.5]], texts=["$\\frac{$"])
    assert ax.texts[0].get_text() == "$\\frac{$"
    assert label([])[1] == []
