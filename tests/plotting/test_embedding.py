import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba
from scipy.spatial.distance import cdist

from synthome.plotting import embedding
from synthome.plotting.embedding import embed, n_neighbors, pca_figure, umap_figure
from synthome.plotting.style import REAL, SYNTHETIC, png_bytes


def points(frame, arm):
    return frame.loc[frame["arm"] == arm, ["x", "y"]].to_numpy()


def test_pca_is_that_of_the_training_rows(cohort, synthetic):
    """The singular vectors of the centred training rows are the independent reference."""
    frame, titles = embed(cohort, synthetic, "pca")
    train = cohort.X[:27]
    centre = train.mean(axis=0)
    _, singular, axes = np.linalg.svd(train - centre, full_matrices=False)
    expected = (cohort.X[27:] - centre) @ axes[:2].T
    actual = points(frame, "test")
    signs = np.sign((actual * expected).sum(axis=0))
    np.testing.assert_allclose(actual, expected * signs, rtol=1e-8, atol=1e-8)
    share = singular[0] ** 2 / (singular**2).sum()
    assert titles[0] == f"PC1 ({share:.0%} of training variance)"


def test_synthetic_rows_do_not_bend_the_map(cohort, synthetic, make_synthetic):
    before, _ = embed(cohort, synthetic, "pca")
    after, _ = embed(cohort, make_synthetic(50, spread=30.0), "pca")
    np.testing.assert_array_equal(points(before, "train"), points(after, "train"))
    np.testing.assert_array_equal(points(before, "test"), points(after, "test"))


def test_many_synthetic_rows_are_thinned_the_same_way_each_time(
    cohort, make_synthetic, monkeypatch
):
    monkeypatch.setattr(embedding, "MAX_SYNTHETIC", 40)
    synthetic = make_synthetic(100)
    first, second = (embed(cohort, synthetic, "pca")[0] for _ in range(2))
    assert len(points(first, "synthetic")) == 40
    np.testing.assert_array_equal(points(first, "synthetic"), points(second, "synthetic"))


def test_colour_tells_the_arm_and_marker_the_class(cohort, synthetic, texts_of):
    figure = pca_figure(cohort, synthetic)
    left, right = figure.axes
    faces = {tuple(c.get_facecolor()[0][:3]) for c in left.findobj(PathCollection)}
    assert faces == {to_rgba(REAL)[:3], (1.0, 1.0, 1.0)}  # training rows filled, held-out hollow
    assert to_rgba(SYNTHETIC)[:3] in {
        tuple(c.get_facecolor()[0][:3]) for c in right.findobj(PathCollection)
    }
    shown = texts_of(figure)
    assert {"Class: case", "Class: control", "Real (36)"} <= set(shown)
    assert not any("patient_" in text for text in shown)


def test_samples_without_a_label_are_no_class_without_a_name(cohort, synthetic, texts_of):
    """Spots that nobody labelled stay in a tissue."""
    cohort.obs["condition"] = cohort.obs["condition"].astype(str)
    cohort.obs.iloc[:3, cohort.obs.columns.get_loc("condition")] = ""
    shown = texts_of(pca_figure(cohort, synthetic))
    assert "Without a label" in shown
    assert not any(text.strip() == "Class:" for text in shown)


@pytest.mark.parametrize("ending", ["", " of the peripheral blood"])
def test_the_legend_fits_however_long_the_names_are(cohort, synthetic, ending):
    """Cell types have long names, and a legend that is too wide is cut off."""
    for adata in (cohort, synthetic):
        names = np.resize([f"CD{i}+/CD45RA+{ending}" for i in range(9)], adata.n_obs)
        adata.obs["condition"] = names
    figure = pca_figure(cohort, synthetic)
    figure.canvas.draw()
    (legend,) = figure.legends
    assert legend.get_window_extent().x1 <= figure.bbox.x1
    assert len(legend.get_texts()) == 12


@pytest.mark.parametrize(("n_train", "expected"), [(5, 3), (6, 3), (34, 6), (75, 15), (1000, 15)])
def test_neighbours_are_always_fewer_than_the_rows(n_train, expected):
    assert n_neighbors(n_train) == expected
    assert n_neighbors(n_train) < n_train


def test_few_rows_get_their_pca_instead_of_a_umap(make_cohort, synthetic):
    frame, titles = embed(make_cohort(4, 0), synthetic, "umap")
    assert "too few rows" in titles[0]
    assert np.isfinite(points(frame, "synthetic")).all()


@pytest.mark.slow
def test_umap_is_that_of_the_training_rows_and_the_same_each_time(
    cohort, synthetic, make_synthetic
):
    """One test, because compiling UMAP takes ten seconds and running it none."""
    first, _ = embed(cohort, synthetic, "umap")
    again, _ = embed(cohort, synthetic, "umap")
    other, _ = embed(cohort, make_synthetic(30, seed=5), "umap")
    np.testing.assert_array_equal(first[["x", "y"]], again[["x", "y"]])
    np.testing.assert_array_equal(points(first, "train"), points(other, "train"))
    np.testing.assert_allclose(points(first, "test"), points(other, "test"))
    assert png_bytes(umap_figure(cohort, synthetic)) == png_bytes(umap_figure(cohort, synthetic))

    train = points(first, "train")
    for arm in ("test", "synthetic"):  # a mean of neighbours lies within the map
        assert (points(first, arm) >= train.min(axis=0) - 1e-6).all()
        assert (points(first, arm) <= train.max(axis=0) + 1e-6).all()


def test_all_distances_are_stored_zeros_too(cohort):
    """UMAP reads a sparse matrix row by row, and refuses one that is not symmetric."""
    rows = cohort.X[:27]
    distances = embedding._all_distances(rows)
    assert distances.nnz == 27 * 27
    np.testing.assert_allclose(distances.toarray(), cdist(rows, rows), atol=1e-5)
    assert (distances != distances.T).nnz == 0
    assert (distances.diagonal() == 0).all()
