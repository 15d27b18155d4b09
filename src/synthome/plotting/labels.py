"""Labels beside points that lie close together: none over another, none over a point.

Each label tries places around its point, near ones first. What a place costs is the overlap with
labels already placed, the points and leaders it hides, and its distance. A few rounds in which
each label may move again, given all others, undo the bad luck of the order. Nothing is random:
the same points are labelled in the same way.
"""

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from synthome.plotting.style import INK, MUTED

Points = Float[np.ndarray, "n_points 2"]
Boxes = Float[np.ndarray, "n 4"]  # left, bottom, right, top
RADII = (7.0, 12.0, 18.0, 26.0, 36.0, 48.0, 62.0, 78.0, 96.0, 116.0, 140.0)  # points
ANGLES = np.deg2rad(np.arange(0, 360, 20))
GAP = 1.5  # points of air around a label
STEPS = np.linspace(0.0, 1.0, 12)  # along a leader
ROUNDS = 4
NEAR = 9.0  # points: farther labels have a leader
OVERLAP, COVERED, CROSSED, LINE, OUTSIDE = 60.0, 90.0, 25.0, 9.0, 1e6  # what a place may cost


def label_points(
    ax: Axes,
    points: Points,
    texts: Sequence[str],
    colours: Sequence[str] | None = None,
    avoid: Float[np.ndarray, "m 2"] | None = None,
    size: float = 8.0,
) -> None:
    """Write ``texts`` beside ``points`` (in data coordinates), with a leader where it is far.

    The limits of the axes must be final. Texts are shown as they are: ``$`` begins no formula.

    Parameters
    ----------
    avoid
        Spots, such as those of ``along``, that labels leave free where they can.
    """
    figure = ax.get_figure(root=True)
    assert isinstance(figure, Figure)
    assert isinstance(figure.canvas, FigureCanvasAgg)
    figure.draw_without_rendering()  # lets the layout settle, so that pixels are final
    scale = figure.dpi / 72.0
    artists = [
        ax.text(x, y, text, fontsize=size, parse_math=False, zorder=9)
        for (x, y), text in zip(points, texts, strict=True)
    ]
    renderer = figure.canvas.get_renderer()
    extents = [artist.get_window_extent(renderer) for artist in artists]
    at = ax.transData.transform(points) if len(points) else np.empty((0, 2))
    frame = ax.get_window_extent(renderer)
    edges = np.array([frame.x0, frame.y0, frame.x1, frame.y1]) / scale
    spots = np.empty((0, 2)) if avoid is None else ax.transData.transform(avoid) / scale
    sizes = np.array([[e.width, e.height] for e in extents]).reshape(-1, 2) / scale + 2 * GAP
    boxes = _arrange(at / scale, sizes, edges, spots)
    inverse = ax.transData.inverted()
    for i, (artist, box) in enumerate(zip(artists, boxes, strict=True)):
        centre = inverse.transform((box[:2] + box[2:]) / 2 * scale)
        artist.set_position((float(centre[0]), float(centre[1])))
        artist.set(ha="center", va="center", color=colours[i] if colours else INK, in_layout=False)
        artist.set_bbox({"boxstyle": "square,pad=0.05", "fc": "white", "ec": "none", "alpha": 0.65})
        end = np.clip(at[i] / scale, box[:2], box[2:])
        if np.linalg.norm(end - at[i] / scale) > NEAR:
            ends = inverse.transform([at[i], end * scale])
            ax.plot(*ends.T, color=MUTED, linewidth=0.8, zorder=4.5, label="_leader")


def along(points: Float[np.ndarray, "n 2"], n_between: int = 12) -> Float[np.ndarray, "m 2"]:
    """Spots on the line through ``points``, so that labels can keep off it."""
    if len(points) < 2:
        return points
    share = np.linspace(0.0, 1.0, n_between)[:, None]
    return np.concatenate([a + share * (b - a) for a, b in itertools.pairwise(points)])


def _arrange(
    points: Points,
    sizes: Points,
    frame: Float[np.ndarray, "4"],
    avoid: np.ndarray,
) -> list[np.ndarray]:
    """Choose a box for each label: crowded points first, then rounds of second thoughts."""
    gaps = np.linalg.norm(points[:, None] - points[None], axis=2)
    order = [int(i) for i in np.argsort(np.sort(gaps, axis=1)[:, :4].sum(axis=1), kind="stable")]
    options = [_options(point, size) for point, size in zip(points, sizes, strict=True)]
    chosen: dict[int, int] = {}
    for _ in range(ROUNDS):
        before = dict(chosen)
        for i in order:
            others = [j for j in chosen if j != i]
            placed = np.array([options[j][chosen[j]] for j in others]).reshape(-1, 4)
            costs = _costs(options[i], i, points, placed, points[others], avoid)
            left, bottom, right, top = options[i].T
            outside = [frame[0] - left, frame[1] - bottom, right - frame[2], top - frame[3]]
            beyond = np.maximum(np.max(outside, axis=0), 0.0)
            chosen[i] = int(np.argmin(costs + OUTSIDE * beyond))
        if chosen == before:
            break
    return [options[i][chosen[i]] for i in range(len(points))]


def _options(point: np.ndarray, size: np.ndarray) -> Boxes:
    """Boxes around a point: the label touches a circle with the side that faces the point."""
    ways = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
    centres = np.concatenate([point + ways * (radius + size / 2) for radius in RADII])
    return np.concatenate([centres - size / 2, centres + size / 2], axis=1)


def _costs(
    boxes: Boxes,
    own: int,
    points: Points,
    placed: Float[np.ndarray, "m 4"],
    anchors: Float[np.ndarray, "m 2"],
    avoid: np.ndarray,
) -> Float[np.ndarray, " n"]:
    """What each box of a label costs, given the boxes of the others and their points."""
    ends = np.clip(points[own], boxes[:, :2], boxes[:, 2:])
    cost = np.repeat(RADII, len(ANGLES))
    cost = cost + COVERED * _inside(points, boxes + 3.0 * np.array([-1, -1, 1, 1])).sum(axis=1)
    cost += LINE * _inside(avoid, boxes).sum(axis=1)
    low = np.maximum(boxes[:, None, :2], placed[None, :, :2])
    shared = np.maximum(np.minimum(boxes[:, None, 2:], placed[None, :, 2:]) - low, 0.0)
    area = shared.prod(axis=2)
    cost += OVERLAP * ((area > 0) + area / 20.0).sum(axis=1)
    theirs = _leaders(anchors, np.clip(anchors, placed[:, :2], placed[:, 2:]))  # (m, steps, 2)
    hidden = _inside(theirs.reshape(-1, 2), boxes).reshape(len(boxes), len(placed), len(STEPS))
    ours = _leaders(np.broadcast_to(points[own], ends.shape), ends)  # (n, steps, 2)
    crossed = _inside(ours.reshape(-1, 2), placed).reshape(len(placed), len(boxes), len(STEPS))
    crossings = hidden.any(axis=2).sum(axis=1) + crossed.any(axis=2).sum(axis=0)
    return np.asarray(cost + CROSSED * crossings, dtype=float)


def _leaders(starts: np.ndarray, ends: np.ndarray) -> Float[np.ndarray, "n steps 2"]:
    return starts[:, None] + STEPS[None, :, None] * (ends - starts)[:, None]


def _inside(points: Float[np.ndarray, "m 2"], boxes: Boxes) -> Bool[np.ndarray, "n m"]:
    """Which points lie in which boxes."""
    x, y = points[None, :, 0], points[None, :, 1]
    left, bottom, right, top = boxes.T[:, :, None]
    return np.asarray((left < x) & (x < right) & (bottom < y) & (y < top))
