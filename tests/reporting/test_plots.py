"""Interactive figures in the page: one script, named by the policy, and data that no tag leaves."""

import base64
import hashlib
import json
import re

import pytest

from synthome.reporting import page as page_module
from synthome.reporting.content import Answers, Section
from synthome.reporting.html import render_report
from synthome.reporting.verdict import verdict
from synthome.reporting.views import embedded_json

PLOT = {"data": [{"text": ["</script><script>alert(1)</script>", "a & b, 100 patients"]}],
        "layout": {}}  # fmt: skip


@pytest.fixture
def html(good, facts):
    sections = (Section("Map one", ("One.",), plot=PLOT), Section("Map two", ("Two.",), plot=PLOT))
    cells = facts.model_copy(update={"unit": "cell"})
    said = verdict(good, cells)
    return render_report(title="Map", metrics=good, verdict=said, facts=cells, sections=sections)


def test_the_script_is_there_once_and_the_policy_names_it(html):
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="(.*?)"', html)[1]
    assert f"script-src 'sha256-{digest}';" in policy
    assert "unsafe-eval" not in policy
    assert "Plotly.newPlot" in script
    assert "plotly.js v" in script


def test_data_stay_data_and_no_word_of_them_is_changed(html):
    blocks = re.findall(r'<script type="application/json" id="(.*?)">(.*?)</script>', html, re.S)
    assert [name for name, _ in blocks] == ["plot-map-one", "plot-map-two"]
    assert all(json.loads(text) == PLOT for _, text in blocks)
    assert [f'data-plot="{name}"' in html for name, _ in blocks] == [True, True]
    assert html.count("<script") == 3


def test_a_page_without_a_plot_has_no_script(good, facts, monkeypatch):
    monkeypatch.setattr(page_module, "plot_script", lambda: pytest.fail("not needed"))
    html = render_report(title="Tissue", metrics=good, verdict=verdict(good, facts), facts=facts,
                         sections=(Section("Words", ("One.",)),))  # fmt: skip
    assert "<script" not in html
    assert "script-src" not in html


def test_a_number_that_json_does_not_have_is_refused():
    with pytest.raises(ValueError, match="JSON compliant"):
        embedded_json({"x": float("nan")})


def test_a_plot_survives_being_stored_and_old_documents_have_none():
    answers = Answers(sections=(Section("Map", ("One.",), plot=PLOT),))
    document = json.loads(json.dumps(answers.document()))
    assert Answers.from_document(document).sections[0].plot == PLOT
    del document["sections"][0]["plot"]
    assert Answers.from_document(document).sections[0].plot is None
