import pytest
from perturbation_tables import planted_rows

from synthome.reporting.planted import planted_answer, planted_table, share_of_bar


def test_loadings_are_said_to_fail_only_where_they_do():
    text = planted_answer(planted_rows(), 2.0)
    down, up = text.split("Genes turned up")
    assert text.startswith("At 2 × the genes that were changed are known")
    assert "a t-test without any model reaches 0.90, chance 0.016" in down
    assert "the model read with its residuals 0.88, which keeps up" in down
    assert "loadings and latents alone 0.13: loadings alone fail here." in down
    assert "loadings and latents alone 0.56." in up


def test_a_model_below_nine_tenths_of_the_t_test_is_less_and_above_it_is_as_good():
    text = planted_answer(planted_rows(down=(0.9, 0.8, 0.8, 0.1), up=(0.9, 0.92, 0.8, 0.1)), 2.0)
    assert "0.80, which is less" in text
    assert "0.92, as well as the t-test" in text
    assert "fail" not in text


def test_one_direction_alone_is_told():
    table = planted_rows()
    text = planted_answer(table[table["direction"] == "up"], 3.0)
    assert "down" not in text
    assert text.startswith("At 3 ×")


def test_the_table_has_both_directions_and_chance_last():
    table = planted_table(planted_rows())
    assert table["Method"].tolist() == [
        "t-test, no model", "Model and its residuals", "Loadings × latent shift",
        "Best single factor (chosen by the truth)", "Chance",
    ]  # fmt: skip
    assert table.loc[1].tolist()[1:] == ["0.88 ± 0.02", "0.91 ± 0.02"]
    assert table.loc[4].tolist()[1:] == ["0.016", "0.024"]


def test_the_share_of_the_bar_is_a_ratio():
    assert share_of_bar(planted_rows(), "mean_shift") == pytest.approx(
        {"down": 0.88 / 0.90, "up": 0.91 / 0.94}
    )
    assert share_of_bar(planted_rows(), "other") == {}
