"""What every set of answers must hold, whatever was missing in the tables behind it."""

import json
import re

from synthome.evaluation.metrics import METRICS
from synthome.reporting.content import Answers


def check_whole(answers, figures):
    """Whole sentences, full tables, scores that were measured, and a place for each figure."""
    for section in answers.sections:
        assert section.paragraphs
        for text in section.paragraphs:
            assert text.endswith(".")
            assert "  " not in text
            assert ".." not in text
            assert text[0].isupper() or text[0].isdigit()
            assert not re.search(r"\bnan\b|\binf\b|None\b(?! of)|\[\]|\{", text)
        if section.table is not None:
            assert len(section.table)
            assert "nan" not in section.table.to_string()
    for key, entry in answers.metrics.items():
        assert key in METRICS
        assert entry["value"] is not None
        assert entry["cheat_wins"] is False
        assert entry["protocol"]
    placed = [name for section in answers.sections for name in section.figures]
    assert sorted(placed) == sorted(figures)
    again = Answers.from_document(json.loads(json.dumps(answers.document(), allow_nan=False)))
    assert again.metrics == answers.metrics
    assert [s.plot for s in again.sections] == [s.plot for s in answers.sections]
