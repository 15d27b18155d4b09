import ast
import base64
import json
from pathlib import Path

import numpy as np
import pytest
from tissue_tables import LAYERS, spots

import synthome
from synthome.errors import InputError
from synthome.plotting.interactive_map import MOST, how_many, interactive_map, thinned


def buttons(plot):
    return {b["label"]: b["args"] for b in plot["layout"]["updatemenus"][0]["buttons"]}


def numbers(given):
    """Plotly writes arrays as base64."""
    if isinstance(given, dict):
        return np.frombuffer(base64.b64decode(given["bdata"]), given["dtype"])
    return np.array(given)


def test_each_section_is_a_trace_of_its_spots_beside_the_others():
    table = spots(("a", "b"), side=12)
    plot = interactive_map(table)
    assert [trace["name"] for trace in plot["data"]] == ["a", "b"]
    x = [numbers(trace["x"]) for trace in plot["data"]]
    assert [len(at) for at in x] == [144, 144]
    assert x[0].max() < x[1].min()
    apart = table.loc[table["section"] == "b", "x"].to_numpy()
    np.testing.assert_allclose(x[1] - x[1].min(), apart - apart.min(), atol=1e-2)
    assert plot["layout"]["yaxis"]["autorange"] == "reversed"
    assert plot["layout"]["yaxis"]["scaleanchor"] == "x"


def test_each_button_brings_the_colours_of_every_section():
    table = spots(("a", "b"), side=12)
    found = buttons(interactive_map(table))
    assert list(found) == ["Domain", "Label", "KL (nats)", "q-value", "Pseudotime"]
    of_b = table[table["section"] == "b"]
    kl = found["KL (nats)"][0]["marker.color"][1]
    np.testing.assert_allclose(kl, of_b["kl"], rtol=5e-3)
    domain = found["Domain"][0]["marker.color"][1]
    np.testing.assert_array_equal(np.array(domain) + 1, of_b["domain"].astype(int))
    bar = found["Label"][1]["coloraxis"]["colorbar"]
    named = np.array([*bar["ticktext"]])[found["Label"][0]["marker.color"][1]]
    assert named.tolist() == of_b["label"].replace("", "no label").tolist()
    assert bar["ticktext"] == [*LAYERS, "no label"]


def test_the_hover_says_domain_and_label_and_kl_and_no_name_of_a_spot():
    table = spots(("a",), side=6)
    table.index = [f"AAACGTTT-{i}" for i in range(len(table))]
    plot = interactive_map(table)
    (trace,) = plot["data"]
    assert trace["text"][0] in {"1", f"1, {table['label'].iloc[0]}"}
    np.testing.assert_allclose(numbers(trace["customdata"]), table["kl"], rtol=1e-6)
    assert "customdata" in trace["hovertemplate"]
    assert "AAACGTTT" not in json.dumps(plot)


def test_what_is_not_known_has_no_button():
    table = spots(("a",), side=6, labelled=False, image=False).assign(pseudotime=np.nan)
    assert list(buttons(interactive_map(table))) == ["Domain", "KL (nats)"]
    table.loc[0, "kl"] = np.nan
    plot = interactive_map(table)
    assert buttons(plot)["KL (nats)"][0]["marker.color"][0][0] is None
    json.dumps(plot["layout"], allow_nan=False)


def test_many_spots_are_thinned_and_it_is_said():
    table = spots(("a", "b"), side=12)
    plot = interactive_map(table, most=100)
    assert sum(len(trace["text"]) for trace in plot["data"]) == 100
    few = thinned(table, 100)
    assert few.index.is_monotonic_increasing
    assert few.index.is_unique
    assert thinned(table, 288) is table
    assert how_many(50) == "The map shows all 50 spots."
    assert "20,000 of the 20,001 spots, drawn at random" in how_many(MOST + 1)


def test_the_largest_map_and_its_script_stay_below_six_megabytes():
    from plotly.offline import get_plotlyjs

    plot = interactive_map(spots(("151673", "151507"), side=110))
    assert sum(len(trace["text"]) for trace in plot["data"]) == MOST
    assert len(json.dumps(plot)) + len(get_plotlyjs().encode()) < 6.0e6


def test_names_from_outside_are_no_markup():
    table = spots(("<b>x</b>",), side=4).assign(label="<i>&")
    plot = interactive_map(table)
    assert plot["data"][0]["name"] == "&lt;b&gt;x&lt;/b&gt;"
    assert "<i>" not in json.dumps(plot)


def test_one_spot_is_a_map_and_none_is_an_error():
    table = spots(("a",), side=3)
    assert len(interactive_map(table.iloc[:1])["data"]) == 1
    with pytest.raises(InputError, match="no row"):
        interactive_map(table.iloc[:0])


def test_plotly_is_imported_only_to_draw():
    """It takes a second, which a run without a tissue does not have to spend."""
    package = Path(synthome.__file__).parent
    for path in (*package.glob("plotting/*.py"), *package.glob("reporting/*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert "plotly" not in ast.unparse(node)
