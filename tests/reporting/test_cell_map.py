import numpy as np
from perturbation_tables import map_points

from synthome.reporting.cell_map import cell_map_answer


def test_clusters_that_follow_the_types_do_not_show_the_change():
    text = cell_map_answer(map_points(200), 2.0)
    assert text.startswith("13 clusters were found in the latents of held-out cells and their")
    assert "They follow the 12 cell types" in text
    assert "do not follow the change" in text
    assert text.endswith("clusters do not show the change.")


def test_clusters_that_follow_the_change_are_said_to():
    cells = map_points(200)
    cells["leiden"] = cells["condition"].map({"base": "0", "down": "1", "up": "2"})
    text = cell_map_answer(cells, 5.0)
    assert "do not follow the 12 cell types" in text
    assert "follow the change (1.00)" in text
    assert text.endswith("(1.00).")


def test_clusters_may_follow_in_part():
    cells = map_points(400)
    mixed = np.random.default_rng(0).permutation(cells["leiden"].to_numpy())
    cells["leiden"] = np.where(np.arange(len(cells)) % 2 == 0, cells["leiden"], mixed)
    assert "follow in part the 12 cell types" in cell_map_answer(cells, 2.0)
