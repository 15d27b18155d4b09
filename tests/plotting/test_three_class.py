import numpy as np
import pandas as pd
import pytest
from perturbation_tables import DOSES, VIEWS, accuracy_rows, confusion_rows

from synthome.errors import InputError
from synthome.plotting.representations import LOOKS, look
from synthome.plotting.style import png_bytes
from synthome.plotting.three_class import accuracy_figure, confusion_figure


def test_each_representation_is_a_line_over_the_doses_with_its_intervals():
    rows = accuracy_rows().sample(frac=1.0, random_state=0)
    (ax,) = accuracy_figure(rows).axes
    lines = {line.get_label(): line for line in ax.lines}
    for (representation, classifier), values in VIEWS.items():
        line = lines[look(representation, classifier).name]
        np.testing.assert_allclose(line.get_ydata(), values)
        assert np.round(line.get_xdata()).tolist() == list(range(len(DOSES)))
    assert len(ax.collections) == len(VIEWS)
    latents = np.array([segment[:, 1] for segment in ax.collections[0].get_segments()])
    centre = np.array(VIEWS["latents", "logistic"])
    np.testing.assert_allclose(latents, np.stack([centre - 0.03, centre + 0.03], axis=1))
    (guess,) = [line for line in ax.lines if set(line.get_ydata()) == {1 / 3}]
    assert guess.get_label().startswith("_")


def test_protocols_have_panels_of_their_own_on_one_scale(texts_of):
    figure = accuracy_figure(pd.concat([accuracy_rows("published", 0.1), accuracy_rows()]))
    strict, published = figure.axes
    assert strict.get_title(loc="left").startswith("Strict")
    assert published.get_title(loc="left").startswith("Published")
    assert strict.get_ylim() == published.get_ylim()
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(legend) == sorted(look(*key).name for key in VIEWS)
    assert png_bytes(figure, dpi=40).startswith(b"\x89PNG")


def test_a_representation_that_nobody_foresaw_is_drawn_last_under_its_own_name():
    rows = accuracy_rows()
    odd = rows[rows["representation"] == "pca"].assign(representation="$x$")
    figure = accuracy_figure(pd.concat([odd, rows]))
    assert figure.legends[0].get_texts()[-1].get_text() == "$x$"
    assert not figure.legends[0].get_texts()[-1].get_parse_math()


def test_looks_differ_in_mark_and_colour():
    for kind in ("colour", "marker"):
        assert len({getattr(style, kind) for style in LOOKS.values()}) == len(LOOKS)


def test_shares_of_each_true_condition_are_written_with_their_rows(texts_of):
    rows = confusion_rows(right=0.6)
    figure = confusion_figure(rows, dose=2.0)
    image = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(image, np.where(np.eye(3), 0.6, 0.2))
    words = [text.strip() for text in texts_of(figure)]
    assert words.count("60 %") == 3
    assert words.count("20 %") == 6
    assert words.count("270") == 3
    assert "60 % right" in figure.axes[0].get_title(loc="left")
    assert "dose 2 ×" in figure.get_suptitle()


def test_rows_are_what_adds_up_to_all():
    """Of 100 cells as they are, 90 are called so; of 200 turned down, 100 are called so too."""
    rows = confusion_rows(doses=(2.0,))
    calls = {"base": (90, 5, 5), "down": (100, 50, 50), "up": (0, 0, 10)}
    for true, counts in calls.items():
        for predicted, n in zip(calls, counts, strict=True):
            rows.loc[(rows["true"] == true) & (rows["predicted"] == predicted), "n"] = n
    shares = confusion_figure(rows, 2.0).axes[0].images[0].get_array()
    np.testing.assert_allclose(shares, [[0.9, 0.05, 0.05], [0.5, 0.25, 0.25], [0, 0, 1]])


def test_the_confusion_of_each_protocol_stands_beside_the_other():
    both = pd.concat([confusion_rows("published", 0.8), confusion_rows()])
    figure = confusion_figure(both, 5.0, classifier="network")
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert "60 % right" in titles[0]
    assert "80 % right" in titles[1]
    alone = confusion_figure(confusion_rows().drop(columns="protocol"), 5.0)
    assert len(alone.axes) == 1


def test_what_is_not_in_the_table_is_an_error():
    with pytest.raises(InputError, match=r"Its doses are: 2, 5\."):
        confusion_figure(confusion_rows(), dose=3.0)
    with pytest.raises(InputError, match="no row"):
        accuracy_figure(accuracy_rows().assign(accuracy=np.nan))
