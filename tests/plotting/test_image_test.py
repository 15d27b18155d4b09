import numpy as np
import pandas as pd
import pytest
from tissue_tables import ARMS, domain_scores

from synthome.errors import InputError
from synthome.plotting.image_test import ARMS as WORDS
from synthome.plotting.image_test import SCORES, image_test_figure, with_elbo
from synthome.plotting.style import SYNTHETIC, png_bytes


def rows_of(figure):
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def means(ax):
    bars = [line for line in ax.lines if line.get_linewidth() == 2.6]
    return [bar.get_xdata()[0] for bar in bars]


def test_each_arm_has_a_row_the_real_one_first_and_each_score_a_panel():
    table = domain_scores().sample(frac=1.0, random_state=0)
    figure = image_test_figure(table)
    assert rows_of(figure) == [WORDS[arm] for arm in ARMS]
    assert [ax.get_title(loc="left") for ax in figure.axes] == list(SCORES.values())
    assert png_bytes(figure, dpi=30).startswith(b"\x89PNG")


def test_bars_are_means_and_the_dashed_line_is_the_best_control():
    table = domain_scores()
    expected = table.groupby("arm")["ari"].mean()
    ax = image_test_figure(table).axes[0]
    np.testing.assert_allclose(means(ax), expected[list(ARMS)])
    (dashed,) = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert dashed.get_xdata()[0] == pytest.approx(expected.drop("real").max())
    ours = [line for line in ax.lines if line.get_color() == SYNTHETIC]
    assert len(ours[0].get_xdata()) == 6


def test_evidence_is_counts_and_latents_together():
    table = with_elbo(pd.DataFrame({"nll": [800.0], "kl": [9.0]}))
    assert table["elbo"].tolist() == [-809.0]


def test_scores_without_labels_have_no_panel_and_gaps_are_left_out():
    table = domain_scores(labelled=False)
    figure = image_test_figure(table)
    assert [ax.get_title(loc="left") for ax in figure.axes] == [SCORES["elbo"]]
    table = domain_scores(("real", "none"))
    table.loc[table["arm"] == "none", "ari"] = np.nan
    ax = image_test_figure(table).axes[0]
    assert not [line for line in ax.lines if line.get_linestyle() == "--"]


def test_a_table_without_values_is_an_error():
    for table in (pd.DataFrame(), domain_scores(labelled=False).drop(columns=["nll", "kl"])):
        with pytest.raises(InputError, match="no value"):
            image_test_figure(table)
