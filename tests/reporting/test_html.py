import base64
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from synthome.errors import InputError
from synthome.evaluation.metrics import METRICS
from synthome.plotting.standing import standing_figure
from synthome.plotting.style import png_bytes
from synthome.reporting.content import FIGURES, FigureWords, Section
from synthome.reporting.html import render_report
from synthome.reporting.verdict import verdict

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)
EVIL = '<script>alert("x")</script>'
VOID = {"meta", "img", "br", "link", "input", "rect", "path", "circle"}


class Page(HTMLParser):
    """Collects tags, ids, links and text, and checks that tags close in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def render(good, facts):
    def make(**changes):
        metrics = changes.pop("metrics", good)
        seen = changes.pop("facts", facts)
        given = {"title": "FSHD", "metrics": metrics, "facts": seen}
        given["verdict"] = verdict(metrics, seen)
        return render_report(**given | changes)

    return make


def test_the_page_is_well_formed_and_opens_with_the_verdict(render, good, facts):
    page = Page(render())
    assert page.open == []
    headline = verdict(good, facts).headline
    assert headline in page.text
    assert page.text.index(headline) < page.text.index("What was done")
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for a in page.all("a")}
    assert targets <= set(ids)


def test_nothing_is_loaded_from_anywhere(render):
    html = render(figures={"pca": PNG})
    page = Page(html)
    assert page.all("script") == page.all("link") == page.all("iframe") == []
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert attributes.get(name, "#").startswith(("#", "data:image/"))
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import|https?://", html)
    (policy,) = [m["content"] for m in page.all("meta") if "http-equiv" in m]
    assert "default-src 'none'" in policy


def test_every_score_is_in_the_table_with_all_its_numbers(render, good):
    html = render()
    for key, entry in good.items():
        row = html[html.index(f">{key}<") :]
        row = row[: row.index("</tr>")]
        for name in ("floor", "ceiling", "cheat"):
            assert f"{entry[name]:.2f}" in row
        assert METRICS[key].name in html
    assert Page(html).text.count("copies win") >= 4


def test_scores_that_are_missing_or_new_do_not_stop_the_page(render, good, make_entry):
    good["utility/tstr_auc"] = make_entry(None, None, None, None, None, None)
    good["spatial/ari"] = make_entry(float("nan"), 0.1, float("nan"))
    good["domains/pearson_r"] = make_entry(0.7, 0.6, 0.8)
    text = Page(render(metrics=good)).text
    assert text.count("not measured") >= 2
    assert "Domains" in text
    assert "nan" not in text.lower().split()


@pytest.mark.parametrize("place", ["class", "title", "why", "command", "parameter", "section"])
def test_whatever_comes_from_outside_is_escaped(place, render, facts):
    changes: dict = {}
    if place == "class":
        changes["facts"] = facts.model_copy(update={"class_sizes": {EVIL: 5, "control": 9}})
    elif place == "title":
        changes["title"] = EVIL
    elif place == "why":
        changes["validation"] = {"steps": [{"step": EVIL, "why": EVIL, "kept_samples": 1}]}
    elif place == "section":
        table = pd.DataFrame({EVIL: [EVIL]})
        changes["sections"] = [Section(EVIL, (EVIL,), table)]
    else:
        changes["run"] = {"command": EVIL, "parameters": {EVIL: {"x": EVIL}}, "seed": EVIL}
    html = render(**changes)
    page = Page(html)
    assert page.all("script") == []
    assert EVIL not in html
    assert EVIL in page.text


def test_figures_are_inside_with_words_for_those_who_cannot_see_them(render, good):
    figure = standing_figure(good, METRICS)
    html = render(figures={"standing": figure, "pca": PNG, "dose_curve": PNG})
    images = Page(html).all("img")
    assert len(images) == 3
    assert all(image["alt"] for image in images)
    assert base64.b64encode(png_bytes(figure)).decode() in html
    text = Page(html).text
    for name in ("standing", "pca"):
        assert FIGURES[name].how_to_read in text
    assert "Dose curve" in text
    order = [html.index(f'id="figure-{name}"') for name in ("standing", "pca", "dose-curve")]
    assert order == sorted(order)


def test_captions_and_sections_of_a_system_are_shown(render):
    words = FigureWords("Dose curve", "More is not better.", "A curve.")
    section = Section(
        "Does temperature help?",
        ("No.",),
        pd.DataFrame({"T": [1.0, 2.0], "slope": [0.18, 0.31]}),
        "Spread by temperature (ratio)",
        ("dose",),
    )
    html = render(
        figures={"dose": PNG},
        captions={"dose": words},
        sections=[section],
        limits=["One tissue only."],
        glossary={"Temperature": "A factor on the latent draw."},
    )
    text = Page(html).text
    for expected in ("Does temperature help?", "More is not better.", "0.18", "One tissue only."):
        assert expected in text
    assert text.index("Does temperature help?") < text.index("More is not better.")
    shared = html.index('<section id="answers">')
    assert html.index('<section id="section-') < shared  # the system's own question comes first
    assert html.count('id="figure-dose"') == 1
    assert "Temperature A factor on the latent draw." in text


def test_a_figure_that_was_not_passed_is_named(render):
    with pytest.raises(InputError, match="not passed: dose"):
        render(sections=[Section("Dose", figures=("dose",))])
    with pytest.raises(InputError, match="'pca' of the report must be"):
        render(figures={"pca": b"GIF89a"})


def test_what_was_done_and_how_to_repeat_it(render):
    run = {
        "command": "kedro run --pipeline=rare_vae --params=label=condition",
        "seed": 7,
        "seconds": 212.4,
        "code_version": "0.1.0",
        "parameters": {"model": {"n_latent": 8}, "empty": {}},
        "versions": {"torch": "2.13.0"},
    }
    history = pd.DataFrame(
        {"epoch": [1, 2, 3], "train_loss": [3.0, 2.0, 1.0], "validation_loss": [3.0, 2.5, 2.75]}
    )
    page = Page(render(run=run, history=history))
    for expected in (
        run["command"],
        "3 min 32 s",
        "model.n_latent",
        "2.13.0",
        "18,342 after validation, 9,000 in the synthetic cohort, 2,000 scored",
        "5-fold cross-validation, repeated 3 times",
        "trained for 3 epochs; the weights of epoch 2 were kept (validation loss 2.50)",
    ):
        assert expected in page.text
    assert len(page.all("details")) >= 2  # parameters and versions are folded away


def test_each_step_of_the_validation_is_shown(render):
    step = {"step": "no variance", "kept_samples": 43, "dropped_samples": 0, "kept_genes": 27101}
    step |= {"dropped_genes": 362, "why": "the same value everywhere", "warning": True}
    found = {"steps": [step], "source": "expression.parquet", "classes": {"a": 1}}
    text = Page(render(validation=found, external_validation=found)).text
    assert text.count("27,101") == text.count("the same value everywhere") == 2
    assert "The external cohort" in text
    assert "What was kept" not in Page(render(validation={"absent": True})).text


def test_no_identifier_reaches_the_page(render):
    why = "duplicate of GSM31801 (see GSM3180, GSM318-1), 43 samples, row 1001, gene RPS1"
    html = render(
        validation={"steps": [{"step": "twins", "why": why}], "source": "GSM3180.csv"},
        run={"command": "kedro run --params=where=GSM3180"},
        identifiers=["GSM3180", "GSM31801", "1001", "GSM318-1", "S1"],
    )
    assert "GSM3180" not in html
    assert "GSM318-1" not in html
    assert "43 samples, row 1001" in html  # a plain number may be a count
    assert "gene RPS1" in html  # an id is a whole word


def test_other_patients_have_a_section_only_when_there_are_some(render, good, facts, make_entry):
    assert 'id="external"' not in render()
    good["external/tstr_auc"] = make_entry(0.64, 0.42, 0.83, 0.6, 0.66)
    seen = facts.model_copy(update={"external_class_sizes": {"FSHD": 15, "control": 9}})
    text = Page(render(metrics=good, facts=seen)).text
    assert "Does it hold for other patients?" in text
    assert verdict(good, seen).external in text


def test_the_same_run_gives_the_same_page(render, good):
    figures = [{"standing": standing_figure(good)} for _ in range(2)]
    assert render(figures=figures[0]) == render(figures=figures[1])


def test_a_page_without_anything_optional_is_whole(good, facts):
    html = render_report(title="T", metrics={}, verdict=verdict({}, facts), facts=facts)
    assert Page(html).open == []
    assert "The command of this run was not recorded" in html
