import pytest
from reporting.board import make_board

from synthome.reporting.ranking import (
    answer,
    better_than_real,
    copies_reach,
    order,
    privacy_limit,
    read_board,
    safe_and_best,
    strongest_attack,
    unfaithful,
)

AUC, BA, LEAK = "utility/tstr_auc", "utility/tstr_balanced_accuracy", "privacy/worst_auc"


@pytest.fixture
def board():
    return make_board()


def faithful(scores):
    """As a generator that has not collapsed would have it."""
    scores["fidelity/std_slope"]["value"] = 1.0
    scores["fidelity/coexpression_r"]["value"] = 0.7


def said(board, **how):
    return " ".join(answer(board, **how))


def test_the_best_is_the_most_useful_within_the_limit(board):
    """SMOTE learns best (0.96), and hands out its patients."""
    assert safe_and_best(board) == "rare_vae"
    faithful(board["gan"])
    board["rare_vae"][LEAK]["value"] = 0.66
    assert safe_and_best(board) == "gan"
    board["gan"][LEAK]["value"] = 0.70
    assert safe_and_best(board) is None


def test_a_collapsed_generator_is_never_the_best(board):
    """The GAN here is within the limit, with half the spread and less structure than noise."""
    board["rare_vae"][LEAK]["value"] = 0.66
    board["gan"][AUC]["value"] = 0.99
    assert safe_and_best(board) is None
    text = said(board)
    assert "there is none whose patients are faithful (gan: spread 0.45 where 1 is right, " in text
    assert "noise at 0.68" in text
    assert "The faithful one that leaks least is rare_vae" in text


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("fidelity/std_slope", 0.79, True),
        ("fidelity/std_slope", 1.21, True),
        ("fidelity/std_slope", 0.85, False),
        ("fidelity/coexpression_r", 0.67, True),
        ("fidelity/coexpression_r", 0.68, False),
        ("fidelity/coexpression_r", None, False),
    ],
)
def test_faults_are_found_on_both_sides_of_a_slope_and_below_noise(board, key, value, found):
    board["rare_vae"][key]["value"] = value
    read = read_board(board)
    assert bool(unfaithful(read["rare_vae"], read)) is found


def test_the_limit_is_included_and_yardsticks_are_no_candidates(board):
    board["rare_vae"][LEAK]["value"] = 0.65
    assert safe_and_best(board) == "rare_vae"
    board["independent_noise"][AUC]["value"] = 0.99
    board["real"][AUC]["value"] = 1.0
    assert safe_and_best(board) == "rare_vae"


@pytest.mark.parametrize(("floor", "limit"), [(0.52, 0.65), (0.60, 0.65), (0.68, 0.73)])
def test_the_limit_is_a_little_above_noise_and_never_below_0_65(board, floor, limit):
    board["independent_noise"][LEAK]["value"] = floor
    assert privacy_limit(board) == pytest.approx(limit)


def test_without_a_row_of_noise_the_lowest_floor_beside_the_scores_counts(board):
    del board["independent_noise"]
    board["gan"][LEAK]["floor"] = 0.66
    for name in board:
        board[name][LEAK]["floor"] = 0.70 if name != "gan" else 0.66
    assert privacy_limit(board) == pytest.approx(0.71)
    assert privacy_limit({}) == 0.65


def test_of_equally_useful_ones_the_one_that_leaks_less_wins_then_the_name(board):
    faithful(board["gan"])
    board["gan"][AUC]["value"] = board["rare_vae"][AUC]["value"]
    assert safe_and_best(board) == "gan"
    board["gan"][LEAK]["value"] = board["rare_vae"][LEAK]["value"]
    assert safe_and_best(dict(reversed(board.items()))) == "gan"


def test_a_generator_without_one_of_the_scores_is_no_candidate(board):
    del board["rare_vae"][LEAK]
    board["gan"][AUC]["value"] = None
    assert safe_and_best(board) is None
    assert "No generator can be recommended: none of the 3" in said(board)


def test_another_pair_of_scores_can_decide(board):
    assert safe_and_best(board, utility="fidelity/std_slope") == "rare_vae"
    assert safe_and_best(board, utility=BA, attack="privacy/nearest_auc") == "rare_vae"


def test_rows_stand_safe_first_then_the_others_then_the_yardsticks(board):
    faithful(board["gan"])
    assert order(read_board(board)) == [
        "rare_vae",
        "gan",
        "smote",
        "class_normal",
        "published_vae",
        "real",
        "independent_noise",
        "copies",
    ]


def test_the_headline_names_the_best_with_its_numbers_and_what_attacks_it(board):
    headline, *_ = answer(board)
    assert "is rare_vae" in headline
    assert "AUC 0.94 [0.89, 0.99] on real ones; real patients give 0.95" in headline
    assert "(recombination of patients) reaches AUC 0.63 [0.53, 0.73], with a limit of 0.65" in (
        headline
    )


def test_when_none_is_within_the_limit_the_least_leaky_is_named(board):
    for name in ("rare_vae", "gan"):
        board[name][LEAK]["value"] = 0.7
    board["gan"][LEAK]["value"] = 0.72
    text = said(board)
    assert "none of the 5 that were scored is within the privacy limit of 0.65" in text
    assert "leaks least is rare_vae" in text
    assert "none has scores of both" in said({"gan": {}})


def test_an_interval_beyond_the_limit_is_told(board):
    assert "reaches 0.73, beyond the limit" in said(board)
    board["rare_vae"][LEAK]["interval"] = [0.55, 0.65]
    assert "beyond the limit" not in said(board)
    board["rare_vae"][LEAK]["interval"] = None
    assert "no interval" in said(board)


def test_rivals_and_noise_within_the_interval_are_told(board):
    text = said(board)
    assert "not told apart" not in text
    assert "Noise without structure lies within the interval of its utility (0.93)" in text
    faithful(board["gan"])
    board["gan"][AUC]["value"] = 0.92
    assert "not told apart from it, is gan." in said(board)
    board["independent_noise"][AUC]["value"] = 0.94
    assert "Noise without structure does as well (0.94)" in said(board)
    board["independent_noise"][AUC]["value"] = 0.80
    assert "Noise" not in said(board)


def test_better_than_real_and_reached_by_copies_is_told(board):
    text = said(board, columns=[AUC, BA, "utility/augmentation_gain", "fidelity/std_slope"])
    assert "It is better than real patients in “Recognising real patients" in text
    assert "(0.83)" in text.split("better than real patients")[1]
    assert "Copies of the patients do at least as well in “Recognising" in text
    plain = said(board, columns=[AUC])
    assert "better than real" not in plain
    assert "Copies" not in plain


def test_better_than_real_counts_where_more_is_better_and_real_sets_the_mark(board):
    scores = read_board(board)
    smote = scores["smote"]
    assert better_than_real(smote[AUC], scores)
    assert not better_than_real(scores["rare_vae"][AUC], scores)
    assert not better_than_real(scores["class_normal"]["utility/augmentation_gain"], scores)
    assert not better_than_real(smote["fidelity/std_slope"], scores)
    del board["real"]
    board["rare_vae"][AUC]["ceiling"] = 0.93
    scores = read_board(board)
    assert better_than_real(scores["rare_vae"][AUC], scores)


def test_copies_reach_a_score_by_their_row_or_by_its_own_flag(board):
    scores = read_board(board)
    assert copies_reach(scores["published_vae"]["fidelity/std_slope"], scores)
    assert not copies_reach(scores["rare_vae"]["fidelity/std_slope"], scores)
    del board["copies"]
    board["rare_vae"][AUC]["cheat_wins"] = True
    scores = read_board(board)
    assert copies_reach(scores["rare_vae"][AUC], scores)
    assert not copies_reach(scores["gan"][AUC], scores)


def test_the_strongest_attack_is_named_without_the_summary_of_all(board):
    scores = read_board(board)
    assert strongest_attack(scores["published_vae"]) == "recombination of patients"
    assert strongest_attack({}) == ""


def test_a_lenient_limit_and_failures_are_told(board):
    assert "lenient" not in said(board)
    board["independent_noise"][LEAK]["value"] = 0.68
    assert "The limit of 0.73 is lenient" in said(board)
    assert "One generator failed and is not ranked: a." in said(board, failed=["a"])
    assert "2 generators failed and are not ranked: a and b." in said(board, failed=["a", "b"])
