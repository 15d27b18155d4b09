"""The leaderboard as a whole: arms as beside one generator, failures, and going on where it was."""

import json

import numpy as np
import pandas as pd
import pytest

from synthome.errors import InputError, NotApplicable
from synthome.evaluation import board as board_module
from synthome.evaluation.board import run_board
from synthome.evaluation.board_config import BoardConfig
from synthome.evaluation.config import EvaluationConfig
from synthome.evaluation.protocol import cross_validate
from synthome.models.registry import Architecture
from synthome.preprocessing.transform import TransformConfig
from synthome.samplers.classical import ClassNormal, ClassNormalConfig
from synthome.samplers.controls import ShuffledGenes

pytestmark = pytest.mark.usefixtures("small_forests")

CONFIG = EvaluationConfig(n_synthetic=100, n_coexpression_genes=30, n_de_genes=10, n_draws=1)
TRANSFORM = TransformConfig(n_top_genes=60)  # all genes, as a single generator is fitted to
NORMAL = Architecture(generator="class_normal")
SHUFFLED = Architecture(generator="shuffled_genes")


@pytest.fixture
def run(cohort, tmp_path):
    def make(generators, config=CONFIG, cohort=cohort, **given):
        return run_board(cohort, generators, TRANSFORM, config, tmp_path / "parts", **given)

    return make


@pytest.fixture
def computed(monkeypatch):
    """Names and folds of the tasks that are really computed."""
    seen = []
    real = board_module.run_task

    def spy(task, *arguments):
        seen.append((task.generator, task.fold))
        return real(task, *arguments)

    monkeypatch.setattr(board_module, "run_task", spy)
    return seen


def test_arms_are_those_of_a_single_generator(run, cohort):
    """One function scores them all: the table of rare_vae and this one can be compared."""
    found = run({"normal": NORMAL})
    scores, attacks = cross_validate(
        cohort, lambda seed: ClassNormal(ClassNormalConfig(), seed), TRANSFORM, CONFIG
    )
    names = {"real": "ceiling", "independent_noise": "floor", "copies": "cheat", "normal": "model"}
    for ours, theirs in ((found.fold_scores, scores), (found.attack_scores, attacks)):
        ours = ours.assign(arm=ours["generator"].map(names))[theirs.columns]
        keys = [c for c in ("fold", "arm", "metric", "attack", "sample") if c in ours]
        pd.testing.assert_frame_equal(
            ours.sort_values(keys, ignore_index=True),
            theirs.sort_values(keys, ignore_index=True),
            check_dtype=False,
            rtol=1e-9,  # sums of BLAS depend on where in memory the rows begin
        )


def test_generators_see_the_variable_genes_alone(cohort, tmp_path, monkeypatch):
    shown, real = [], ShuffledGenes.fit

    def fit(self, train):
        shown.append(train.n_vars)
        return real(self, train)

    monkeypatch.setattr(ShuffledGenes, "fit", fit)
    few = TransformConfig(n_top_genes=40)
    found = run_board(cohort, {"shuffled": SHUFFLED}, few, CONFIG, tmp_path)
    assert shown == [40, 40]
    assert (found.runs["n_genes"] == 40).all()


def test_tables_follow_the_generators_and_the_references_are_always_there(run):
    found = run({"shuffled": SHUFFLED, "copies": Architecture(generator="copies")})
    names = ["real", "independent_noise", "copies", "shuffled"]
    assert found.runs["generator"].drop_duplicates().tolist() == names
    assert found.fold_scores["generator"].drop_duplicates().tolist() == names
    assert (found.runs["status"] == "ok").all()
    assert found.runs.groupby("generator")["fold"].agg(list).map(lambda f: f == [0, 1]).all()
    fitted = found.runs[found.runs["generator"] != "real"]
    assert (fitted[["fit_wall", "sample_wall", "peak_megabytes"]] > 0).to_numpy().all()
    assert set(found.attack_scores["sample"]) == set(range(40))  # rows, and no names


class Broken(ShuffledGenes):
    """Fails in the second fold only."""

    error: Exception = InputError("It diverged.")
    shown = 0

    def fit(self, train):
        Broken.shown += 1
        if Broken.shown == 2:
            raise Broken.error
        return super().fit(train)


@pytest.fixture
def broken(monkeypatch):
    monkeypatch.setattr(Broken, "shown", 0)
    monkeypatch.setattr("synthome.samplers.controls.ShuffledGenes", Broken)
    return Broken


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (InputError("It\ndiverged."), "failed", "It diverged."),
        (np.linalg.LinAlgError("Singular matrix"), "failed", "LinAlgError: Singular matrix"),
        (ZeroDivisionError(), "failed", "ZeroDivisionError: no message"),
        (NotApplicable("It needs counts."), "not applicable", "It needs counts."),
    ],
)
def test_one_that_fails_is_told_and_the_others_go_on(
    run, broken, monkeypatch, error, status, reason
):
    monkeypatch.setattr(broken, "error", error)
    found = run({"shuffled": SHUFFLED, "normal": NORMAL})
    ours = found.runs[found.runs["generator"] == "shuffled"]
    assert ours["status"].tolist() == ["ok", status]
    assert ours["reason"].tolist() == ["", reason]
    assert (found.runs.loc[found.runs["generator"] == "normal", "status"] == "ok").all()
    scored = found.fold_scores[found.fold_scores["generator"] == "shuffled"]
    assert scored["fold"].unique().tolist() == [0]  # what was scored is kept


def test_values_that_are_not_numbers_fail_a_generator(run, monkeypatch):
    real = ShuffledGenes.sample

    def nan(self, *arguments):
        drawn = real(self, *arguments)
        drawn.X[3, 5] = np.nan
        return drawn

    monkeypatch.setattr(ShuffledGenes, "sample", nan)
    found = run({"shuffled": SHUFFLED}).runs.set_index("generator")
    assert (found.loc["shuffled", "status"] == "failed").all()
    assert found.loc["shuffled", "reason"].str.contains("not finite").all()
    assert (found.loc["copies", "status"] == "ok").all()


def test_an_interrupted_run_goes_on_with_what_is_missing(run, computed, monkeypatch):
    """Ctrl-C in the middle: no finished task is computed twice, and the tables are the same."""
    generators = {"normal": NORMAL, "shuffled": SHUFFLED}
    whole = run(generators, config=CONFIG.model_copy(update={"seed": 1}))
    spied = board_module.run_task
    computed.clear()

    def interrupted(task, *arguments):
        if len(computed) == 5:
            raise KeyboardInterrupt
        return spied(task, *arguments)

    again = CONFIG.model_copy(update={"seed": 2})
    monkeypatch.setattr(board_module, "run_task", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(generators, config=again)
    monkeypatch.setattr(board_module, "run_task", spied)
    before = list(computed)
    assert len(before) == 5
    resumed = run(generators, config=again)
    assert len(computed) == 10
    assert not set(before) & set(computed[5:])
    fresh = computed.copy()
    once_more = run(generators, config=again)
    assert computed == fresh
    pd.testing.assert_frame_equal(resumed.fold_scores, once_more.fold_scores, check_exact=True)
    pd.testing.assert_frame_equal(resumed.attack_scores, once_more.attack_scores, check_exact=True)
    pd.testing.assert_frame_equal(resumed.runs, once_more.runs)
    assert not resumed.fold_scores["value"].equals(whole.fold_scores["value"])


def test_what_failed_is_tried_again(run, broken, computed):
    run({"shuffled": SHUFFLED})
    computed.clear()
    found = run({"shuffled": SHUFFLED})
    assert computed == [("shuffled", 1)]
    assert (found.runs["status"] == "ok").all()


def test_every_choice_that_changes_a_number_is_computed_anew(run, cohort, monkeypatch):
    """What is computed does not matter here, and takes no time."""
    computed = []

    def at_once(task, *_):
        computed.append(task)
        return board_module.Outcome(task, board_module.OK, scores={"fidelity/mean_r2": 1.0})

    monkeypatch.setattr(board_module, "run_task", at_once)

    def count(**changes):
        computed.clear()
        run(**{"generators": {"normal": NORMAL}} | changes)
        return len(computed)

    assert count() == 8
    assert count() == 0
    assert count(config=CONFIG.model_copy(update={"n_jobs": 1, "n_bootstrap": 7})) == 0
    noisy = Architecture(generator="class_normal", options={"noise": 0.5})
    assert count(generators={"normal": noisy}) == 2
    assert count(config=CONFIG.model_copy(update={"n_draws": 2})) == 8
    changed = cohort.copy()
    changed.X[3, 4] += 0.01
    assert count(cohort=changed) == 8
    moved = cohort.copy()
    moved.obs["fold_0"] = 1 - moved.obs["fold_0"]
    assert count(cohort=moved) == 8
    monkeypatch.setattr(board_module, "code_digest", lambda: "another version")
    assert count() == 8


def test_half_a_part_is_no_part(run, computed, tmp_path):
    """The second file is missing, or cannot be read."""
    run({"normal": NORMAL})
    computed.clear()
    (first, second) = sorted((tmp_path / "parts").rglob("normal-*.json"))
    first.unlink()
    second.write_text("{")
    run({"normal": NORMAL})
    assert computed == [("normal", 0), ("normal", 1)]
    assert json.loads(first.read_text())["status"] == "ok"


def test_the_longest_come_first(monkeypatch, cohort, tmp_path):
    seen = []
    monkeypatch.setattr(
        board_module, "finished", lambda work, todo, *_: seen.extend(todo) or iter_nothing()
    )
    made = {name: Architecture(generator=name) for name in ("smote", "rare_vae", "wgan_gp", "gan")}
    with pytest.raises(KeyError):  # nothing was computed
        run_board(cohort, made, TRANSFORM, CONFIG, tmp_path)
    names = [task.generator for (task,) in seen]
    assert names[:6] == ["gan", "gan", "wgan_gp", "wgan_gp", "rare_vae", "rare_vae"]
    assert sorted(names[6:]) == sorted(2 * ["real", "independent_noise", "copies", "smote"])


def iter_nothing():
    yield from ()


def test_one_fit_serves_all_temperatures_and_gives_what_each_alone_would(cohort, tmp_path):
    """Scores to the bit; the fit is told for each."""
    from synthome.models.published_vae import PublishedVAEGenerator

    tiny = {"n_hidden": [8, 4], "n_latent": 2, "training": {"max_epochs": 2}}
    made = {
        f"t{t}": Architecture(generator="published_vae", options=tiny | {"temperature": float(t)})
        for t in (1, 3)
    }
    alone = [
        run_board(cohort, {name: of}, TRANSFORM, CONFIG, tmp_path / name)
        for name, of in made.items()
    ]
    fits, real = [], PublishedVAEGenerator.fit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            PublishedVAEGenerator, "fit", lambda s, t, **k: fits.append(s) or real(s, t, **k)
        )
        both = run_board(cohort, made, TRANSFORM, CONFIG, tmp_path / "both")
    assert len(fits) == 2  # one for each fold
    for name, board in zip(made, alone, strict=True):
        ours, theirs = (t[t["generator"] == name] for t in (both.fold_scores, board.fold_scores))
        np.testing.assert_allclose(ours["value"], theirs["value"], rtol=1e-9)
    cost = both.runs.set_index(["generator", "fold"])["fit_wall"]
    assert (cost["t1"] == cost["t3"]).all()


@pytest.mark.slow
def test_processes_give_the_same_tables(run, cohort, tmp_path):
    """Workers grow full forests, so that those scores are left out."""
    ours = run({"normal": NORMAL})
    config = CONFIG.model_copy(update={"n_jobs": 2})
    theirs = run_board(cohort, {"normal": NORMAL}, TRANSFORM, config, tmp_path / "others")
    pd.testing.assert_frame_equal(ours.attack_scores, theirs.attack_scores, check_exact=True)
    plain = ~ours.fold_scores["metric"].str.contains("forest|gain")
    pd.testing.assert_frame_equal(
        ours.fold_scores[plain], theirs.fold_scores[plain], check_exact=True
    )


def test_a_name_or_an_option_that_does_not_exist_is_refused():
    made = {"normal": {"generator": "class_normal"}}
    assert list(BoardConfig(generators=made, chosen="normal").compared) == ["normal"]
    with pytest.raises(ValueError, match="no generator 'nromal'; there are: normal"):
        BoardConfig(generators=made, chosen="normal+nromal")
    with pytest.raises(ValueError, match="nois"):
        BoardConfig(generators={"normal": {"generator": "class_normal", "options": {"nois": 1}}})
    with pytest.raises(ValueError, match="'real' stands for real patients"):
        BoardConfig(generators={"real": {"generator": "copies"}})
