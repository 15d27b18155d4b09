import base64
import hashlib
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from reporting.board import FSHD, make_board

from synthome.errors import InputError
from synthome.reporting.board_words import COLUMNS, FIGURES, TERMS
from synthome.reporting.leaderboard import render_leaderboard, safe_and_best

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)
EVIL = '<script>alert("x")</script>'
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Tags, text, and the cells of the sortable table by row."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.words, self.rows = [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append((dict(attrs).get("class", ""), []))
        if tag in {"td", "th"} and self.rows:
            self.rows[-1][1].append((dict(attrs), []))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.words.append(data)
        if self.rows and self.rows[-1][1] and {"td", "th"} & set(self.open):
            self.rows[-1][1][-1][1].append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def row(self, name):
        """Class and cells, as attributes and text, of the row of a generator."""
        return next(
            (kind, [(attributes, " ".join(words)) for attributes, words in cells])
            for kind, cells in self.rows
            if cells and cells[0][1][:1] == [name] and "data-column" in cells[0][0]
        )


@pytest.fixture
def runs():
    rows = [(name, "ok", "", 1.5 + 10 * i, 5) for i, name in enumerate(FSHD)]
    rows.append(("wgan_gp", "failed", "The loss became NaN with patient_7 in fold 3.", 81.0, 2))
    return pd.DataFrame(rows, columns=["generator", "status", "reason", "seconds", "n_folds"])


@pytest.fixture
def render(runs, facts):
    def make(**changes):
        given = {"title": "FSHD", "summaries": make_board(), "runs": runs, "figures": {}}
        return render_leaderboard(**given | {"facts": facts} | changes)

    return make


def test_the_page_is_whole_and_answers_before_the_table(render):
    page = Page(render(figures={"pareto": PNG}, texts={"More": "Words."}))
    assert page.open == []
    assert page.text.index("within the privacy limit is rare_vae") < page.text.index("TSTR LR")
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in page.all("a")} <= set(ids)


def test_nothing_is_loaded_and_only_the_own_script_may_run(render):
    html = render(figures={"pareto": PNG})
    page = Page(html)
    assert page.all("link") == []
    assert page.all("script") == [{}]
    assert not re.search(r"https?://", html)
    assert all(image["src"].startswith("data:image/png") for image in page.all("img"))
    (policy,) = [m["content"] for m in page.all("meta") if "http-equiv" in m]
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert "aria-sort" in script
    assert not re.search(r"\son\w+=", html)


def test_each_generator_is_a_row_with_values_and_intervals(render):
    page = Page(render())
    for name, (auc, *_) in FSHD.items():
        _, cells = page.row(name)
        assert len(cells) == len(COLUMNS) + 2
        assert f"{auc:.2f}" in cells[1][1]
        assert f"[{auc - 0.05:.2f}, " in cells[1][1]
    _, cells = page.row("rare_vae")
    assert cells[len(COLUMNS)][1].split()[0] == "0.63"
    assert "recombination of patients" in cells[len(COLUMNS)][1]
    assert cells[-1][1] == "72"
    lfc = next(i for i, column in enumerate(COLUMNS, 1) if column.key == "biology/lfc_slope")
    assert cells[lfc] == ({"data-column": str(lfc), "data-sort": ""}, "–")


def test_a_differentially_private_generator_says_how_private(render, runs):
    private = runs.assign(epsilon=np.where(runs["generator"] == "gan", 10.0, np.nan))
    page = Page(render(runs=private))
    assert page.row("gan")[1][0][1] == "gan differentially private, ε = 10"
    assert "differentially" not in page.row("rare_vae")[1][0][1]


def test_rows_are_marked_for_what_they_are(render):
    page = Page(render())
    assert page.row("rare_vae")[0] == "best"
    assert [page.row(name)[0] for name in ("real", "independent_noise", "copies")] == [
        "yardstick"
    ] * 3
    assert "cheat: copied patients" in page.row("copies")[1][0][1]
    assert page.row("gan")[0] == "generator"
    assert "beyond the limit" in page.row("smote")[1][-2][1]
    assert "beyond the limit" not in page.row("gan")[1][-2][1]
    assert "beyond the limit" not in page.row("copies")[1][-2][1]


def test_a_failed_generator_is_a_row_with_its_reason_and_is_not_ranked(render):
    summaries = make_board() | {"wgan_gp": make_board()["rare_vae"]}
    summaries["wgan_gp"]["utility/tstr_auc"]["value"] = 0.99
    assert safe_and_best(summaries) == "wgan_gp"
    page = Page(render(summaries=summaries))
    kind, cells = page.row("wgan_gp")
    assert kind == "failed"
    assert cells[1][1].startswith("The loss became NaN")
    assert cells[1][0]["colspan"] == str(len(COLUMNS))
    assert page.row("rare_vae")[0] == "best"
    assert "One generator failed and is not ranked: wgan_gp." in page.text


def test_what_does_not_apply_is_a_row_with_its_reason_and_no_failure(render, runs):
    runs.loc[len(runs)] = ["local_gamma_poisson", "not applicable", "It draws counts.", np.nan, 0]
    page = Page(render(runs=runs))
    kind, cells = page.row("local_gamma_poisson")
    assert kind == "not-applicable"
    assert "not applicable" in cells[0][1]
    assert cells[1][1] == "It draws counts."
    assert "One generator failed and is not ranked: wgan_gp." in page.text
    with pytest.raises(InputError, match="must be one of: ok, failed, not applicable"):
        render(runs=runs.assign(status="fine"))


def test_better_than_real_and_reached_by_copies_is_marked_in_the_cell(render):
    page = Page(render())
    _, smote = page.row("smote")
    _, ours = page.row("rare_vae")
    assert "above real" in smote[1][1]
    assert "copies too" not in smote[1][1]
    assert "above real" not in ours[1][1]
    assert "above real" in ours[2][1]
    assert "copies too" in ours[2][1]
    for name in ("real", "independent_noise", "copies"):
        assert not any(
            "copies too" in text or "above real" in text for _, text in page.row(name)[1]
        )
    assert not any("copies too" in page.row(name)[1][-2][1] for name in ("smote", "gan"))


def test_cells_sort_by_value_or_by_the_distance_from_what_is_right(render):
    page = Page(render())
    at = {column.key: i for i, column in enumerate(COLUMNS, 1)}

    def keys(name):
        return {key: page.row(name)[1][i][0]["data-sort"] for key, i in at.items()}

    assert keys("gan")["utility/tstr_auc"] == "0.66"
    assert keys("gan")["utility/augmentation_gain"] == "-0.04"
    assert keys("gan")["fidelity/std_slope"] == "0.55"
    assert keys("gan")["privacy/worst_auc"] == "0.12"
    heads = [a for a in page.all("th") if "data-first" in a]
    assert len(heads) == len(COLUMNS) + 2
    assert heads[at["utility/tstr_auc"]]["data-first"] == "descending"
    assert heads[at["fidelity/std_slope"]]["data-first"] == "ascending"


def test_every_score_of_every_generator_is_in_the_full_table(render):
    html = render()
    page = Page(html)
    details = html[html.index("8 scores of 8 generators") :]
    assert all(f'<code class="key">{key}</code>' in details for key in make_board()["gan"])
    assert "0.83 [0.73, 0.93]" in details
    assert "rowgroup" in {a.get("scope") for a in page.all("th")}


@pytest.mark.parametrize("place", ["title", "texts", "reason", "name", "run"])
def test_whatever_comes_from_outside_is_escaped(place, render, runs):
    changes = {
        "title": {"title": EVIL},
        "texts": {"texts": {EVIL: EVIL}},
        "reason": {"runs": runs.assign(reason=EVIL)},
        "name": {"summaries": make_board() | {EVIL: make_board()["gan"]}},
        "run": {"run": {"command": EVIL, "parameters": {EVIL: EVIL}, "versions": {EVIL: EVIL}}},
    }[place]
    html = render(**changes)
    assert EVIL not in html
    assert "&lt;script&gt;" in html


def test_no_identifier_reaches_the_page(render):
    html = render(
        identifiers=["patient_7"],
        texts={"pareto": "patient_7 is far out.", "More": "So is patient_7."},
        figures={"pareto": PNG},
        run={"command": "kedro run patient_7", "parameters": {"leave_out": "patient_7"}},
    )
    assert "patient_7" not in html
    assert html.count("█████") == 5


def test_figures_have_captions_and_the_text_of_their_name(render):
    names = [*FIGURES, "other_figure"]
    page = Page(render(figures=dict.fromkeys(names, PNG), texts={"dose": "Do not augment: no."}))
    for words in FIGURES.values():
        assert words.title in page.text
        assert words.alt in [image["alt"] for image in page.all("img")]
    assert "Other figure" in page.text
    assert page.text.count("Do not augment: no.") == 1
    after = page.text.split("Do not augment: no.")[1]
    assert FIGURES["few_shot"].title in after
    assert FIGURES["temperature"].title not in after


def test_a_generator_that_ran_fewer_folds_or_has_no_scores_says_so(render, runs):
    runs.loc[runs["generator"] == "gan", "n_folds"] = 4
    extra = pd.DataFrame([("late", "ok", None, np.nan, 5)], columns=runs.columns)
    page = Page(render(runs=pd.concat([runs, extra], ignore_index=True)))
    assert "4 of 5 folds" in page.row("gan")[1][0][1]
    assert "folds" not in page.row("smote")[1][0][1]
    _, cells = page.row("late")
    assert "no scores" in cells[0][1]
    assert [text for _, text in cells[1:]] == ["–"] * (len(COLUMNS) + 1)


def test_a_failure_without_a_reason_and_a_board_of_failures_are_shown(render, runs):
    gone = runs.assign(status="failed", reason=None)
    page = Page(render(summaries={}, runs=gone))
    assert page.row("gan")[1][1][1] == "No reason was recorded."
    assert "No generator can be recommended" in page.text


def test_of_several_runs_of_a_generator_the_last_counts(render, runs):
    again = runs[runs["generator"] == "wgan_gp"].assign(status="ok", reason="", seconds=33.0)
    page = Page(render(runs=pd.concat([runs, again], ignore_index=True)))
    assert page.row("wgan_gp")[0] == "generator"
    assert page.row("wgan_gp")[1][-1][1] == "33"
    assert "failed" not in page.text.split("All generators")[0]


def test_terms_are_explained_in_order(render):
    terms = Page(render()).all("dt")
    assert len(terms) > len(TERMS)
    words = Page(render()).text
    assert words.index(TERMS["C2ST"]) < words.index(TERMS["Worst attack"])
    assert TERMS["Floor"] in words


def test_a_table_of_runs_that_cannot_be_read_is_named(render, runs):
    with pytest.raises(InputError, match="lacks seconds"):
        render(runs=runs.drop(columns="seconds"))
    with pytest.raises(InputError, match="status of real is 'done'"):
        render(runs=runs.assign(status="done"))


def test_how_to_repeat_it_is_on_the_page(render):
    run = {"command": "kedro run --pipeline=leaderboard", "versions": {"torch": "2.13"}, "seed": 7}
    page = Page(render(run=run))
    assert "kedro run --pipeline=leaderboard" in page.text
    assert "Random seed 7" in page.text
    assert "How to reproduce this page" in page.text


def test_the_same_run_gives_the_same_page(render):
    assert render() == render()
