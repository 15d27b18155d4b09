import itertools
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from synthome.plotting import style
from synthome.plotting.attacks import attacks_figure
from synthome.plotting.moments import moments_figure
from synthome.plotting.representations import LOOKS
from synthome.plotting.standing import standing_figure

# Machado, Oliveira, Fernandes (2009), doi:10.1109/TVCG.2009.113, severity 1, on linear RGB.
PROTANOPIA = [[0.1521, 1.0526, -0.2048], [0.1148, 0.7862, 0.0990], [-0.0038, -0.0481, 1.0520]]
DEUTERANOPIA = [[0.3671, 0.8607, -0.2278], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]]
SRGB_TO_XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]


def lab(colour: str, seen_by: list[list[float]] | None) -> np.ndarray:
    """CIE Lab (D65) of a colour as somebody sees it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    if seen_by is not None:
        linear = np.clip(np.array(seen_by) @ linear, 0, 1)
    xyz = np.array(SRGB_TO_XYZ) @ linear / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("seen_by", [None, PROTANOPIA, DEUTERANOPIA])
def test_roles_stay_apart_for_every_eye(seen_by):
    """A difference of 10 in Lab is seen at a glance; lines are thin, so ask for more."""
    roles = [style.SYNTHETIC, style.FLOOR, style.CEILING, style.CHEAT, style.REAL]
    for together in (roles, [look.colour for look in LOOKS.values()]):
        colours = [lab(colour, seen_by) for colour in together]
        distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(colours, 2)]
        assert min(distances) > 15


@pytest.mark.parametrize("draw", [standing_figure, attacks_figure])
def test_the_same_scores_give_the_same_bytes(draw, metrics):
    first, second = (style.png_bytes(draw(metrics)) for _ in range(2))
    assert first.startswith(b"\x89PNG")
    assert first == second


def test_the_same_samples_give_the_same_bytes(cohort, synthetic):
    first, second = (style.png_bytes(moments_figure(cohort, synthetic)) for _ in range(2))
    assert first == second
    assert b"Software" not in first  # a version there would change the bytes


def test_settings_of_matplotlib_stay_as_they_were(metrics):
    before = dict(matplotlib.rcParams)
    style.png_bytes(standing_figure(metrics))
    assert dict(matplotlib.rcParams) == before


def test_plotting_needs_no_pyplot_and_no_heavy_import():
    """pyplot keeps figures alive and looks for a screen; umap compiles for seconds."""
    code = (
        "import sys; import synthome.plotting.embedding, synthome.plotting.coexpression, "
        "synthome.plotting.standing, synthome.plotting.history, synthome.reporting.html; "
        "print([m for m in ('matplotlib.pyplot', 'umap', 'sklearn', 'torch', 'scanpy', 'kedro') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_names_from_outside_are_no_formulas():
    """A class called ``$x$`` is written, and an unbalanced ``$`` does not stop the drawing."""
    figure = style.new_figure(2.0)
    ax = figure.add_subplot()
    ax.set_xticks([0, 1], [r"$\frac{$", "b"])
    style.as_plain_text(ax.get_xticklabels())
    assert style.png_bytes(figure).startswith(b"\x89PNG")
