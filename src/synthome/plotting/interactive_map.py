"""A map of the tissue that a reader can turn to: zoom, hover, and choose what the colours say.

The map is a Plotly figure as plain JSON, which the report embeds. It draws SVG marks and not WebGL,
which would need a content security policy that lets scripts write scripts. Coordinates are stored
once; each button brings its own colours. It holds no name of a spot.
"""

import json
import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from synthome.errors import InputError
from synthome.plotting.cell_map import GROUP_COLOURS
from synthome.plotting.style import FAINT, INK, short
from synthome.plotting.tissue_map import in_order, label_colours
from synthome.rng import generator

MOST = 20_000  # spots that a browser draws without delay, and that a page can hold
GAP = 0.08  # between sections side by side, as a share of the widest
SIDE_BY_SIDE = 4
GROUPS = {"domain": "Domain", "label": "Label"}
VALUES = {"kl": "KL (nats)", "q_value": "q-value", "pseudotime": "Pseudotime"}
DIGITS = 3  # significant, of a value in the page
HEIGHT = 620  # pixels
WHOLE = "Viridis"

HOVER = "%{fullData.name}<br>domain %{text}<br>KL %{customdata:.2f}<extra></extra>"

Plot = dict[str, Any]


def interactive_map(spots: pd.DataFrame, most: int = MOST) -> Plot:
    """The map of all sections, coloured by domain at first.

    Parameters
    ----------
    spots
        Columns ``section``, ``x``, ``y``, ``label``, ``domain``, ``kl``, ``q_value``,
        ``pseudotime``; what is empty or nan throughout has no button.
    most
        Spots to show. Of more, as many are drawn at random.

    Returns
    -------
    ``data`` and ``layout`` of a Plotly figure, as JSON can hold them.
    """
    import plotly.graph_objects as go

    if spots.empty:
        raise InputError("A map of a tissue needs spots, but the table of spots has no row.")
    drawn = thinned(spots, most)
    drawn = drawn.assign(section=drawn["section"].astype(str))
    x, y, names = _places(drawn)
    rows = [np.flatnonzero(drawn["section"].to_numpy() == name) for name in names]
    choices = _choices(drawn, rows)
    first = choices[0]
    figure = go.Figure(
        [
            go.Scatter(
                x=x[of],
                y=y[of],
                name=_plain(short(name)),
                mode="markers",
                marker={"color": first["colours"][i], "coloraxis": "coloraxis",
                        "size": _size(len(drawn)), "line": {"width": 0}},
                text=_words(drawn.iloc[of]),
                customdata=drawn["kl"].to_numpy(dtype=np.float32)[of],
                hovertemplate=HOVER,
            )
            for i, (name, of) in enumerate(zip(names, rows, strict=True))
        ]
    )  # fmt: skip
    figure.update_layout(
        template="none",
        height=HEIGHT,
        showlegend=False,
        font={"family": "system-ui, sans-serif", "color": INK},
        margin={"l": 10, "r": 10, "t": 60, "b": 10},
        coloraxis=first["axis"],
        dragmode="pan",
        hovermode="closest",
        annotations=_titles(names, x, y, rows) if len(names) > 1 else [],
        updatemenus=[_buttons(choices)],
    )
    bare = {"showgrid": False, "zeroline": False, "showticklabels": False}
    figure.update_xaxes(**bare)
    figure.update_yaxes(**bare, autorange="reversed", scaleanchor="x")
    found: Plot = json.loads(str(figure.to_json()))
    return found


def thinned(spots: pd.DataFrame, most: int = MOST) -> pd.DataFrame:
    """At most so many spots, drawn at random, in their order."""
    if len(spots) <= most:
        return spots
    rows = generator(0, "interactive map").choice(len(spots), most, replace=False)
    return spots.iloc[np.sort(rows)]


def how_many(n_spots: int, most: int = MOST) -> str:
    """Say how many of the spots the map shows."""
    if n_spots <= most:
        return f"The map shows all {n_spots:,} spots."
    return (
        f"The map shows {most:,} of the {n_spots:,} spots, drawn at random; the pictures and all "
        "numbers of this report use every spot."
    )


def _places(spots: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Coordinates with the sections side by side, each of its own size; names of the sections."""
    names = list(dict.fromkeys(spots["section"]))
    x, y = (spots[axis].to_numpy(dtype=np.float64).copy() for axis in ("x", "y"))
    of = spots["section"].to_numpy()
    for name in names:
        for at in (x, y):
            at[of == name] -= at[of == name].min()
    width, height = ((1 + GAP) * max(float(at.max()), 1.0) for at in (x, y))
    for i, name in enumerate(names):
        x[of == name] += (i % SIDE_BY_SIDE) * width
        y[of == name] += (i // SIDE_BY_SIDE) * (height + GAP * height)
    return x.astype(np.float32), y.astype(np.float32), names


def _choices(spots: pd.DataFrame, rows: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """What the colours may say: of each, its name, its colours by section, and its scale."""
    found: list[dict[str, Any]] = []
    domains = in_order(spots["domain"])
    colours = {n: GROUP_COLOURS[i % len(GROUP_COLOURS)] for i, n in enumerate(domains)}
    looks = {"domain": colours, "label": label_colours(spots, colours)}
    for column, words in GROUPS.items():
        look = looks[column]
        if look:
            given = spots[column].astype(str)
            groups = list(look) + ([""] if (given == "").any() else [])
            code = given.map({name: i for i, name in enumerate(groups)}).to_numpy()
            axis = _group_axis(words, groups, [*look.values(), FAINT][: len(groups)])
            found.append({"name": words, "axis": axis,
                          "colours": [code[of].tolist() for of in rows]})  # fmt: skip
    for column, words in VALUES.items():
        values = spots[column].to_numpy(dtype=float)
        known = values[np.isfinite(values)]
        if len(known):
            low, high = (0.0, 1.0) if column == "q_value" else np.quantile(known, (0.01, 0.99))
            axis = {
                "colorscale": WHOLE,
                "reversescale": column == "q_value",  # what disagrees is bright
                "cmin": float(low),
                "cmax": float(high) if high > low else float(low) + 1.0,
                "colorbar": {"title": {"text": words}, "tickmode": "auto", "thickness": 14},
            }
            shown = [[_rounded(v) for v in values[of]] for of in rows]
            found.append({"name": words, "axis": axis, "colours": shown})
    return found


def _group_axis(words: str, groups: Sequence[str], colours: Sequence[str]) -> dict[str, Any]:
    """A colour scale of steps, one for each group."""
    n = len(groups)
    steps = [(edge / n, colours[i]) for i in range(n) for edge in (i, i + 1)]
    return {
        "colorscale": [list(step) for step in steps],
        "reversescale": False,
        "cmin": -0.5,
        "cmax": n - 0.5,
        "colorbar": {
            "title": {"text": words},
            "tickmode": "array",
            "tickvals": list(range(n)),
            "ticktext": [_plain(short(name)) or "no label" for name in groups],
            "thickness": 14,
        },
    }


def _buttons(choices: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "buttons",
        "direction": "right",
        "x": 0.0,
        "xanchor": "left",
        "y": 1.02,
        "yanchor": "bottom",
        "showactive": True,
        "buttons": [
            {"label": choice["name"], "method": "update",
             "args": [{"marker.color": choice["colours"]}, {"coloraxis": choice["axis"]}]}
            for choice in choices
        ],
    }  # fmt: skip


def _titles(
    names: Sequence[str], x: np.ndarray, y: np.ndarray, rows: Sequence[np.ndarray]
) -> list[dict[str, Any]]:
    return [
        {"text": _plain(short(name)), "showarrow": False, "x": float(x[of].min()),
         "y": float(y[of].min()), "xanchor": "left", "yanchor": "bottom", "yshift": 4}
        for name, of in zip(names, rows, strict=True)
    ]  # fmt: skip


def _words(spots: pd.DataFrame) -> list[str]:
    """Domain and label of each spot, as the hover says it."""
    domain, label = (spots[column].astype(str) for column in ("domain", "label"))
    return [
        d + (f", {_plain(short(name))}" if name else "")
        for d, name in zip(domain, label, strict=True)
    ]


def _size(n_spots: int) -> float:
    return float(np.clip(420 / math.sqrt(n_spots), 3.0, 9.0))


def _rounded(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def _plain(name: str) -> str:
    """A name from outside: Plotly would read a tag as markup."""
    return escape(name, quote=False)
