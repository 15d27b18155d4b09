import numpy as np
import pytest
from matched_tables import answer_rows, attack_rows, results_of, score_rows

from synthome.errors import InputError
from synthome.evaluation.matched import summarised
from synthome.plotting.matched import (
    ATTACKS,
    MODELS,
    ROWS,
    called_figure,
    matched_figure,
    released_figure,
)
from synthome.plotting.style import png_bytes


def test_every_model_is_a_line_and_every_kind_of_rows_a_mark():
    figure = matched_figure(results_of().summary, 4)
    strict, published = figure.axes
    assert [t.get_text() for t in strict.get_yticklabels()] == list(MODELS.values())
    marks = {line.get_label(): line for line in strict.lines if line.get_label()[0] != "_"}
    assert set(marks) == {words for _, _, words in ROWS.values()}
    drawn = marks[ROWS["drawn"][2]]
    np.testing.assert_allclose(drawn.get_xdata(), [0.80, 0.85, 0.82, 0.78, 0.81])
    assert np.round(drawn.get_ydata()).tolist() == [0, 1, 2, 3, 4]
    assert "new patients" in strict.get_title(loc="left")
    assert "made of" in published.get_title(loc="left")
    guessing = [line for line in strict.lines if list(line.get_xdata()) == [0.25, 0.25]]
    assert len(guessing) == 1


def test_one_protocol_alone_has_one_panel_and_nothing_is_refused():
    assert len(matched_figure(summarised(score_rows(published=False)), 4).axes) == 1
    with pytest.raises(InputError, match="no balanced accuracy"):
        matched_figure(results_of().summary.iloc[:0], 4)


def test_attacks_are_rows_with_copies_beside(texts_of):
    figure = released_figure(attack_rows())
    (ax,) = figure.axes
    assert [t.get_text() for t in ax.get_yticklabels()] == [ATTACKS["text"], ATTACKS["nearest"]]
    assert "Copied patients" in texts_of(figure)
    with pytest.raises(InputError, match="no attack"):
        released_figure(attack_rows().iloc[:0])


def test_a_class_that_was_not_named_has_a_column(texts_of):
    figure = called_figure(answer_rows())
    strict, published = figure.axes
    assert [t.get_text() for t in strict.get_xticklabels()] == ["CMS1", "CMS2", "CMS3"]
    assert [t.get_text() for t in published.get_xticklabels()][-1] == "none"
    shown = [text.replace("\n", "") for text in texts_of(figure)]
    assert "75 %" in shown
    assert png_bytes(figure, dpi=30).startswith(b"\x89PNG")
    with pytest.raises(InputError, match="answered nothing"):
        called_figure(answer_rows().iloc[:0])
