import numpy as np
import pandas as pd
import pytest

from synthome.errors import InputError
from synthome.plotting.history import best_row, loss_curves


@pytest.fixture
def history() -> pd.DataFrame:
    epochs = np.arange(1, 21)
    validation = (epochs - 12.0) ** 2 + 50.0
    return pd.DataFrame(
        {"epoch": epochs, "train_loss": 50.0 + 50.0 / epochs, "validation_loss": validation}
    )


def test_the_best_epoch_is_the_lowest_in_validation(history):
    assert history["epoch"].iloc[best_row(history)] == 12


def test_a_flag_wins_over_the_lowest_loss(history):
    """With a minimum improvement, the kept epoch need not be the very lowest."""
    history["best"] = history["epoch"] == 9
    assert history["epoch"].iloc[best_row(history)] == 9


def test_without_validation_no_epoch_is_called_best(history):
    assert best_row(history.drop(columns="validation_loss")) is None
    assert best_row(history.assign(validation_loss=np.nan)) is None


def test_epochs_without_validation_are_passed_over(history):
    history.loc[history["epoch"] == 12, "validation_loss"] = np.nan
    assert history["epoch"].iloc[best_row(history)] in (11, 13)


def test_the_kept_epoch_is_marked_and_named(history, texts_of):
    figure = loss_curves(history)
    assert any("epoch 12, loss 50" in text for text in texts_of(figure))
    dotted = [line for line in figure.axes[0].lines if line.get_linestyle() == ":"]
    assert 12 in [x for line in dotted for x in line.get_xdata()]


def test_further_columns_get_panels_of_their_own(history):
    more = history.assign(kl=1.0, learning_rate=1e-3, beta=np.nan, best=False, note="text")
    titles = [ax.get_title(loc="left") for ax in loss_curves(more).axes]
    assert titles[1:] == ["Kullback–Leibler term", "Learning rate"]


def test_training_and_validation_of_a_term_share_a_panel(history):
    more = history.assign(train_kl=2.0, validation_kl=3.0, learning_rate=10.0 ** -history["epoch"])
    _, kl, rate = loss_curves(more).axes
    assert kl.get_title(loc="left") == "Kullback–Leibler term"
    assert [line.get_linestyle() for line in kl.lines] == ["-", "--"]
    assert rate.get_yscale() == "log"
    low, high = rate.get_ylim()
    assert sum(low <= tick <= high for tick in rate.get_yticks()) <= 6


def test_a_wide_range_is_drawn_on_a_log_scale(history):
    assert loss_curves(history).axes[0].get_yscale() == "linear"
    assert loss_curves(history.assign(train_loss=10.0 ** history["epoch"])).axes[
        0
    ].get_yscale() == ("log")
    negative = history.assign(train_loss=-history["train_loss"])
    assert loss_curves(negative).axes[0].get_yscale() == "linear"


@pytest.mark.parametrize("lacking", ["epoch", "train_loss"])
def test_a_history_without_its_columns_is_refused(history, lacking):
    with pytest.raises(InputError, match="epoch and train_loss"):
        loss_curves(history.drop(columns=lacking))
