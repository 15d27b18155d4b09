import numpy as np
import pandas as pd
import pytest

from synthome.errors import InputError
from synthome.plotting.distortion import LOOKS, UNCODED, distortion_figure
from synthome.plotting.style import png_bytes

PRECISIONS = (2, 4, 8)


def rows(accuracy: bool = True, shift: float = 0.0) -> pd.DataFrame:
    """What ``encoding.distortion`` returns, with numbers that are easily told apart."""
    found = [
        {"setting": setting, "float_precision": precision, "bits_per_gene": precision + shift,
         "decode_r2": 1 - lost / 4.0**precision if setting == "default" else 0.8,
         "accuracy": 0.9 - 0.1 / precision - lost if accuracy else np.nan}
        for setting, lost in (("default", 0.1), ("published", 0.2))
        for precision in PRECISIONS
    ]  # fmt: skip
    found += [{"setting": UNCODED, "decode_r2": 1.0, "accuracy": 0.85}] if accuracy else []
    return pd.DataFrame(found)


def lines_of(ax) -> dict[str, object]:
    return {line.get_label(): line for line in ax.lines}


def test_each_setting_is_a_line_over_bits_in_what_is_lost_and_in_accuracy():
    table = rows().sample(frac=1.0, random_state=0)
    lost, accuracy = distortion_figure(table).axes
    for setting, (*_, words) in LOOKS.items():
        of = table[table["setting"] == setting].sort_values("float_precision")
        for ax, values in ((lost, 1 - of["decode_r2"]), (accuracy, of["accuracy"])):
            line = lines_of(ax)[words]
            np.testing.assert_allclose(line.get_xdata(), PRECISIONS)
            np.testing.assert_allclose(line.get_ydata(), values)
    uncoded = lines_of(accuracy)["Values as they were measured"]
    assert set(uncoded.get_ydata()) == {0.85}


def test_less_loss_is_higher_up_and_ticks_read_as_r2():
    figure = distortion_figure(rows())
    png_bytes(figure, dpi=40)
    ax = figure.axes[0]
    assert ax.get_yscale() == "log"
    bottom, top = ax.get_ylim()
    assert bottom > top
    shown = dict(zip(ax.get_yticks(), [t.get_text() for t in ax.get_yticklabels()], strict=True))
    assert shown[1e-3] == "0.999"
    assert shown[1e-4] == "0.9999"
    assert all(line.get_ydata()[0] <= bottom for line in ax.lines)
    assert all(min(line.get_ydata()) >= top for line in ax.lines)


def test_the_bar_is_drawn_where_it_is_asked_for(texts_of):
    figure = distortion_figure(rows())
    assert any(np.allclose(line.get_ydata(), 2e-4) for line in figure.axes[0].lines)
    assert "0.9998" in [text.strip() for text in texts_of(figure)]
    bare = distortion_figure(rows(), bar=None)
    assert len(bare.axes[0].lines) == len(LOOKS)


def test_folds_are_averaged():
    both = pd.concat([rows(), rows(shift=1.0)])
    line = lines_of(distortion_figure(both).axes[0])[LOOKS["default"][-1]]
    np.testing.assert_allclose(line.get_xdata(), np.add(PRECISIONS, 0.5))


def test_without_accuracy_there_is_one_panel():
    figure = distortion_figure(rows(accuracy=False))
    assert len(figure.axes) == 1
    assert figure.axes[0].get_xlabel().startswith("Bits per gene")
    assert png_bytes(figure, dpi=40).startswith(b"\x89PNG")


def test_a_code_without_loss_is_drawn_at_the_end_of_the_scale():
    table = rows(accuracy=False).assign(decode_r2=1.0)
    assert png_bytes(distortion_figure(table), dpi=40).startswith(b"\x89PNG")


def test_a_table_with_nothing_to_draw_is_an_error():
    with pytest.raises(InputError, match="no row"):
        distortion_figure(rows().assign(decode_r2=np.nan))
