"""One generator, many settings: a spread that is known, and a leak that noise hides."""

from typing import ClassVar

import numpy as np
import pytest

from synthome.errors import InputError
from synthome.evaluation.arms import Arm
from synthome.evaluation.config import EvaluationConfig
from synthome.evaluation.knobs import (
    POINT_SCORES,
    privacy_curve,
    temperature_curve,
    variance_ratio,
    with_noise,
)
from synthome.evaluation.study import StudyConfig
from synthome.evaluation.variants import makers, with_epsilon, with_option
from synthome.models.registry import GeneratorSettings
from synthome.preprocessing.transform import TransformConfig
from synthome.samplers.controls import Copies, IndependentNoise

TRANSFORM = TransformConfig(n_top_genes=40)
CONFIG = EvaluationConfig(n_coexpression_genes=10, n_synthetic=80, n_draws=2)


def arm(x, y):
    return Arm(x, np.array(list(y)), np.arange(len(x)).astype(str))


class Hot(IndependentNoise):
    """Noise whose spread is T times that of the training rows; chose 2 and 4."""

    fits = 0
    temperatures: ClassVar = {"disease": 2.0, "healthy": 4.0}

    def fit(self, train):
        Hot.fits += 1
        return super().fit(train)

    def sample(self, n_obs, labels, rng, temperature=None):
        kept = self.std
        self.std = {c: (temperature or 1.0) * std for c, std in kept.items()}
        drawn = super().sample(n_obs, labels, rng)
        self.std = kept
        return drawn


def test_variance_ratio_is_the_square_of_the_spread_whatever_the_classes_do():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 5)), "a" * 20 + "b" * 10
    centre = np.where(np.array(list(y))[:, None] == "a", x[:20].mean(axis=0), x[20:].mean(axis=0))
    real, twice = arm(x, y), arm(100 * (centre > 0) + 2 * (x - centre), y)
    assert variance_ratio(real, real) == pytest.approx(1.0)
    assert variance_ratio(real, arm(centre + 2 * (x - centre), y)) == pytest.approx(4.0)
    assert variance_ratio(real, twice) == pytest.approx(4.0)  # class means do not enter


def test_a_class_of_one_row_has_no_variance_to_compare():
    x = np.random.default_rng(0).standard_normal((6, 3))
    real = arm(x, "aaaaab")
    assert variance_ratio(real, arm(3 * x, "aaaaab")) == pytest.approx(9.0)
    assert np.isnan(variance_ratio(real, arm(x, "bbbbbb")))


def test_the_same_generator_is_drawn_at_every_temperature(cohort, small_forests):
    Hot.fits = 0
    study = StudyConfig(temperatures=(0.5, 1, 2))
    curve, chosen = temperature_curve(
        cohort, {"rare_vae": lambda _seed: Hot()}, TRANSFORM, CONFIG, study
    )
    assert Hot.fits == 2  # one per fold
    assert chosen == {"disease": 2.0, "healthy": 4.0}
    assert set(curve["metric"]) == set(POINT_SCORES)
    ratio = curve[curve["metric"] == "fidelity/variance_ratio"].set_index("temperature")["value"]
    assert ratio[1.0] == pytest.approx(1.0, abs=0.2)
    assert ratio[0.5] == pytest.approx(ratio[1.0] / 4, rel=1e-5)  # same random numbers
    assert ratio[2.0] == pytest.approx(ratio[1.0] * 4, rel=1e-5)
    assert (curve["low"] <= curve["value"]).all()
    assert (curve["value"] <= curve["high"]).all()


def test_a_generator_that_chose_no_temperature_is_at_1(cohort, small_forests, monkeypatch):
    monkeypatch.setattr(Hot, "temperatures", None)
    study = StudyConfig(temperatures=(1,))
    made = {"rare_vae": lambda _seed: Hot()}
    _, chosen = temperature_curve(cohort, made, TRANSFORM, CONFIG, study)
    assert chosen == {"disease": 1.0, "healthy": 1.0}


def test_noise_hides_copies_and_costs_utility(cohort, small_forests):
    study = StudyConfig(noise=(0, 20))
    curve = privacy_curve(cohort, lambda _seed: Copies(), None, TRANSFORM, CONFIG, study)
    assert curve["knob"].tolist() == ["noise", "noise"]  # no knob of its own
    none, most = curve.iloc[0], curve.iloc[1]
    assert none["attack"] == 1.0
    assert most["attack"] < 0.85
    assert most["utility"] < none["utility"]
    assert none["attack_low"] > 0.8
    assert none["utility_low"] <= none["utility"] <= none["utility_high"]


def test_each_setting_of_a_knob_fits_its_own_generator(cohort, small_forests):
    asked = []

    def shrunken(setting):
        asked.append(setting)
        return lambda _seed: IndependentNoise() if setting else Copies()

    study = StudyConfig(noise=(0,), shrinkage=(0, 0.5))
    curve = privacy_curve(cohort, lambda _seed: Copies(), shrunken, TRANSFORM, CONFIG, study)
    attack = curve.set_index(["knob", "setting"])["attack"]
    assert asked == [0, 0.5] * 2
    assert attack["shrinkage", 0.0] == attack["noise", 0.0] == 1.0
    assert attack["shrinkage", 0.5] < 0.9


def test_the_private_generator_takes_the_place_of_the_other_on_the_scored_genes(
    cohort, small_forests
):
    shown = []

    class Private(IndependentNoise):
        def fit(self, train):
            shown.append((self.epsilon, train.n_vars))
            return super().fit(train)

    def private(epsilon):
        def make(_seed):
            made = Private()
            made.epsilon = epsilon
            return made

        return make

    study = StudyConfig(noise=(0,), epsilons=(1, 10))
    curve = privacy_curve(
        cohort, lambda _seed: Copies(), None, TRANSFORM, CONFIG, study, private
    ).set_index(["knob", "setting"])
    assert shown == [(1, 40), (10, 40)] * 2
    assert set(curve.index) == {("noise", 0.0), ("epsilon", 1.0), ("epsilon", 10.0)}
    assert curve.loc[("epsilon", 1.0), "attack"] < 0.9


def test_without_opacus_the_knob_is_left_out_with_a_line(monkeypatch, caplog):
    assert with_epsilon()(3.0)(0).config.epsilon == 3.0
    monkeypatch.setattr("synthome.evaluation.variants.find_spec", lambda _name: None)
    assert with_epsilon() is None
    assert 'pip install -e ".[private]"' in caplog.text


def test_noise_has_the_asked_size(cohort):
    std = np.linspace(1.0, 3.0, cohort.n_vars)
    rng = np.random.default_rng(0)
    added = np.asarray(with_noise(cohort, std, 0.5, rng).X) - cohort.X
    assert (added / std).std() == pytest.approx(0.5, rel=0.05)
    np.testing.assert_array_equal(with_noise(cohort, std, 0.0, rng).X, cohort.X.astype(np.float32))


SETTINGS = GeneratorSettings(
    architecture="ours",
    architectures={
        "ours": {"generator": "rare_vae"},
        "other": {"generator": "rare_vae", "options": {"n_hidden": 8}},
        "noise": {"generator": "independent_noise"},
    },
)


def test_architectures_are_called_by_their_generator_once():
    found = makers(SETTINGS, ("ours", "noise", "other"))
    assert list(found) == ["rare_vae", "independent_noise", "other"]
    assert found["other"](3).config.n_hidden == 8
    assert found["rare_vae"](3).config.n_hidden != 8
    with pytest.raises(InputError, match="'missing'"):
        makers(SETTINGS, ("missing",))


def test_an_option_is_turned_where_there_is_one():
    turned = with_option(SETTINGS, "dropout")
    assert turned(0.25)(3).config.dropout == 0.25
    assert with_option(SETTINGS, "no_such_option") is None
