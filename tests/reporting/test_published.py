"""The sentences must follow the numbers: every branch, with the numbers that lead into it."""

import re

import numpy as np
import pandas as pd
import pytest

from synthome.errors import InputError
from synthome.evaluation.published import published_summary
from synthome.reporting.published import published_words

METRICS = ("tstr_accuracy", "mean_r2", "std_slope", "coexpression_r")
GOOD = (0.984, 0.9991, 1.0, 0.95)
NOISE = (0.96, 0.9996, 1.0, 0.3)  # noise that passes, and that its co-expression gives away
UNSORTED = (0.69, 0.9998, 1.0, 0.59)  # gene means agree, sorting fails
UNLIKE = (0.97, 0.55, 1.0, 0.59)  # sorting works, gene means do not agree
BAD = (0.6, 0.5, 0.5, 0.3)
COPIES, NOTHING = "xact copies of the patients", "oise in which no gene knows of another"
MORE = "that the synthetic patients are more than the real ones handed out again"
LEARNED = "that a generator has learned how genes work together"
HELP = "that synthetic patients help with a diagnosis or stand for patients not seen before"


def summary(**generators):
    rows = [
        (name, metric, value, 0.0154, 42)
        for name, values in generators.items()
        for metric, value in zip(METRICS, values, strict=True)
    ]
    return pd.DataFrame(rows, columns=["generator", "metric", "mean", "sd", "representative_seed"])


def words(vae=None, copies=None, noise=None, **others):
    given = {"vae": vae, **others, "copies": copies, "independent_noise": noise}
    return published_words(summary(**{k: v for k, v in given.items() if v is not None}))


def sentences(text):
    return re.split(r"(?<=\.) (?=[A-Z])", text)


def test_numbers_are_those_of_the_summary():
    text = words(vae=GOOD, copies=GOOD, noise=UNSORTED)
    assert "vae (98.4 ± 1.5 % sorted right, R² 0.999) is excellent." in text
    assert f"n{NOTHING} (69 ± 1.5 % sorted right, R² 1.000) is not" in text


def test_one_seed_has_no_plus_minus():
    one = summary(vae=GOOD, copies=GOOD).assign(sd=np.nan)
    assert "vae (98.4 % sorted right, R² 0.999)" in published_words(one)


def test_when_copies_and_noise_pass_as_well_passing_shows_nothing():
    _, controls, conclusion = sentences(words(vae=GOOD, copies=GOOD, noise=NOISE))
    assert controls.startswith(f"E{COPIES} (98.4")
    assert f") and n{NOTHING} (96" in controls
    assert "are excellent as well (only the co-expression score" in controls
    assert controls.endswith("notices noise: 0.30).")
    assert conclusion == f"Passing therefore does not show {MORE} or {LEARNED}, nor {HELP}."


def test_noise_with_good_coexpression_is_not_said_to_be_noticed():
    assert "notices" not in words(vae=GOOD, copies=GOOD, noise=GOOD)
    assert "notices" not in words(vae=GOOD, copies=NOISE)


@pytest.mark.parametrize(
    ("noise", "end"),
    [
        (UNSORTED, "is not, although average gene levels match."),
        (UNLIKE, "is not, although patients are sorted right."),
        (BAD, "R² 0.500) is not."),
    ],
)
def test_when_copies_alone_pass_it_is_memory_that_passing_does_not_rule_out(noise, end):
    _, controls, conclusion = sentences(words(vae=GOOD, copies=GOOD, noise=noise))
    assert f"E{COPIES} (98.4 ± 1.5 % sorted right, R² 0.999) are excellent as well; " in controls
    assert controls.endswith(end)
    assert conclusion == f"Passing therefore does not show {MORE}, nor {HELP}."


def test_when_noise_alone_passes_it_is_structure_that_passing_does_not_show():
    _, controls, conclusion = sentences(words(vae=GOOD, copies=BAD, noise=NOISE))
    assert controls.startswith(f"N{NOTHING} (96")
    assert (
        f"is excellent as well; e{COPIES} (60 ± 1.5 % sorted right, R² 0.500) are not" in controls
    )
    assert conclusion == f"Passing therefore does not show {LEARNED}, nor {HELP}."


def test_when_neither_passes_the_check_tells_the_model_from_both_and_that_is_said():
    """On such a cohort the check is worth something, and the words must not deny it."""
    _, controls, conclusion = sentences(words(vae=GOOD, copies=UNSORTED, noise=UNSORTED))
    assert controls.endswith("are not excellent, although average gene levels match.")
    assert conclusion == (
        f"Here the check does tell vae from e{COPIES} and n{NOTHING}, but it does not show {HELP}."
    )


@pytest.mark.parametrize(
    ("copies", "noise", "reached", "hidden"),
    [
        (GOOD, BAD, f"e{COPIES} reach is", MORE),
        (BAD, NOISE, f"n{NOTHING} reaches is", LEARNED),
        (GOOD, NOISE, f"e{COPIES} and n{NOTHING} reach is", f"{MORE} or {LEARNED}"),
    ],
)
def test_a_model_that_falls_short_of_copies_or_noise_is_warned_of(copies, noise, reached, hidden):
    first, controls, conclusion = sentences(words(vae=UNSORTED, copies=copies, noise=noise))
    assert first.endswith("vae (69 ± 1.5 % sorted right, R² 1.000) is not excellent.")
    assert "as well" not in controls
    assert conclusion == (
        f"Falling short of what {reached} a warning, but passing would not show {hidden}, "
        f"nor {HELP}."
    )


def test_when_nothing_passes_the_check_tells_nothing_apart():
    *_, conclusion = sentences(words(vae=BAD, copies=BAD, noise=BAD))
    assert conclusion == "Since nothing passes, the check tells nothing apart on this cohort."


def test_generators_that_pass_and_those_that_do_not_are_told_apart():
    text = words(vae=UNSORTED, gan=GOOD, flow=GOOD, copies=BAD, noise=BAD)
    first, _, conclusion = sentences(text)
    assert re.search(r"gan \(.*\) and flow \(.*\) are excellent; vae \(.*\) is not\.$", first)
    assert "does tell gan and flow from" in conclusion


@pytest.mark.parametrize(("slope", "said"), [(0.32, "alike"), (1.3, "different")])
def test_a_wrong_spread_that_passes_is_named(slope, said):
    text = words(vae=(*GOOD[:2], slope, 0.9), copies=GOOD, noise=BAD)
    assert text.endswith(
        f"; and neither number shows that the patients of vae are too {said} (slope of spreads "
        f"{slope:.2f}, 1 is right)."
    )
    assert len(sentences(text)) == 3


@pytest.mark.parametrize("slope", [0.9, 1.1, np.nan])
def test_a_right_or_unknown_spread_is_not_mentioned(slope):
    assert "slope" not in words(vae=(*GOOD[:2], slope, 0.9), copies=GOOD, noise=BAD)


def test_the_spread_of_what_fails_anyway_or_of_controls_is_not_mentioned():
    assert "slope" not in words(vae=BAD, copies=(*GOOD[:2], 0.5, 1.0), noise=BAD)


def test_without_controls_the_result_cannot_be_valued():
    first, conclusion = sentences(words(vae=GOOD))
    assert first.endswith("is excellent.")
    assert conclusion.startswith("Without copied patients and noise beside it, nobody can say")


def test_controls_alone_say_what_passing_would_not_show():
    first, conclusion = sentences(words(copies=GOOD, noise=UNSORTED))
    assert first.startswith("The published check asks")
    assert f"by it, e{COPIES}" in first
    assert conclusion == f"Passing it would not show {MORE}."
    assert words(copies=BAD, noise=BAD).endswith("are not excellent. Nothing passes it here.")


def test_excellent_is_above_nine_tenths_in_both_numbers():
    """The word and the limit are those of the published code, which asks for more than 0.9."""
    assert "is not excellent" in words(vae=(0.9, 1.0, 1.0, 1.0), copies=BAD)
    assert "is not excellent" in words(vae=(1.0, 0.9, 1.0, 1.0), copies=BAD)
    assert "is excellent" in words(vae=(0.901, 0.901, 1.0, 1.0), copies=BAD)


def test_what_published_summary_returns_can_be_said():
    rows = [
        (name, seed, metric, value)
        for name in ("vae", "copies")
        for metric in ("tstr_accuracy", "mean_r2")
        for seed, value in ((42, 1.0), (10, 0.9))
    ]
    table = pd.DataFrame(rows, columns=["generator", "seed", "metric", "value"])
    text = published_words(published_summary(table))
    assert "vae (95 ± 7.1 % sorted right, R² 0.950) is excellent" in text


def test_a_summary_that_lacks_something_is_refused():
    whole = summary(vae=GOOD, copies=GOOD)
    with pytest.raises(InputError, match="lacks sd"):
        published_words(whole.drop(columns="sd"))
    with pytest.raises(InputError, match="it has 0 rows"):
        published_words(whole.iloc[:0])
    for metric in ("tstr_accuracy", "mean_r2"):
        lacking = (whole["metric"] == metric) & (whole["generator"] == "vae")
        with pytest.raises(InputError, match="no tstr_accuracy or no mean_r2 for vae"):
            published_words(whole[~lacking])
    with pytest.raises(InputError, match="for vae, copies"):
        published_words(whole[whole["metric"] == "std_slope"])
