import pytest
from perturbation_tables import held_out

from synthome.reporting.likelihood import interval, likelihood_answer, likelihood_table


def test_latents_that_help_are_said_to_with_their_gain():
    text = likelihood_answer(held_out(345.0, 20.0, 398.0))
    assert "better than no latents at all: 345 nats for each of 1,500 held-out cells" in text
    assert "against 398 under a negative binomial without latents, a gain of 13.3 %." in text
    assert "too loose" not in text


def test_latents_that_cost_more_than_they_gain_are_said_to():
    text = likelihood_answer(held_out(380.0, 30.0, 398.0))
    assert "Counting what the latents themselves cost, it is no better (410 nats)" in text


def test_a_model_worse_than_none_must_not_be_built_on():
    text = likelihood_answer(held_out(1311.0, 63.0, 1087.0))
    assert text.startswith("The model explains held-out cells worse than no latents at all (1,311")
    assert text.endswith("nothing below should be built on its latents.")


def test_the_table_and_its_intervals():
    table = likelihood_table(held_out(345.0, 20.0, 398.0))
    assert table["Nats for each cell"].tolist() == [
        "345 [341, 349]", "20.00 [16.08, 23.92]", "365 [361, 369]", "398 [394, 402]",
    ]  # fmt: skip
    assert interval({"value": 10.0, "standard_error": 1.0}) == pytest.approx((8.04, 11.96), 1e-3)
