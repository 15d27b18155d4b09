"""Tables as ``evaluation.matched`` and ``evaluation.text_code`` make them, with known contents."""

import numpy as np
import pandas as pd

from synthome.evaluation.matched import CLASSICAL, LM, TEXT_ATTACK
from synthome.reporting.omics_lm import LMResults

RIGHT = {LM: 0.80, "logistic": 0.85, "forest": 0.82, "neighbours": 0.78, "network": 0.81}
OF_ROWS = {"drawn": 0.0, "real": -0.02, "noise": -0.10, "copies": -0.05}


def score_rows(lm: float = RIGHT[LM], published: bool = True) -> pd.DataFrame:
    rows = []
    parts = [("strict", arm, fold) for arm in OF_ROWS for fold in range(5)]
    for protocol, arm, fold in [*parts, *([("published", "drawn", 0)] if published else [])]:
        for model in (LM, *CLASSICAL):
            if model == LM and arm != "drawn":
                continue
            value = (lm if model == LM else RIGHT[model]) + OF_ROWS[arm] + 0.01 * (fold - 2)
            value += 0.15 * (protocol == "published")
            found = {"balanced_accuracy": value, "macro_f1": value - 0.01, "auc": value + 0.1,
                     "brier": 1.0 - value, "ece": 0.1}  # fmt: skip
            for metric, score in found.items():
                rows.append((protocol, arm, model, 0, fold, 400, 12, metric, min(score, 1.0)))
    columns = ["protocol", "arm", "model", "repeat", "fold", "n_train", "n_test", "metric", "value"]
    return pd.DataFrame(rows, columns=columns)


def answer_rows() -> pd.DataFrame:
    true = np.repeat(["CMS1", "CMS2", "CMS3"], 20)
    called = true.copy()
    called[::4] = "CMS2"
    table = pd.DataFrame(
        {"true": true, "called": called, "confidence": 0.8, "repeat": 0, "fold": 0}
    )
    published = table.assign(protocol="published", called=np.where(np.arange(60) < 3, "", true))
    return pd.concat([table.assign(protocol="strict"), published], ignore_index=True)


def attack_rows(written: float = 0.52) -> pd.DataFrame:
    values = {"written": written, "drawn": 0.66, "noise": 0.51, "copies": 1.0}
    return pd.DataFrame(
        [
            (arm, attack, value, value - 0.08, min(value + 0.08, 1.0), 60)
            for arm, value in values.items()
            for attack in (TEXT_ATTACK, "nearest")
        ],
        columns=["arm", "attack", "auc", "low", "high", "n_patients"],
    )


def distortion_rows() -> pd.DataFrame:
    kept = {("default", 4): 0.98, ("default", 8): 0.99995, ("published", 4): 0.84,
            ("published", 8): 0.85}  # fmt: skip
    cut = {"default": 0.0, "published": 0.32}
    rows = [
        (setting, precision, 2.0**precision, precision - 0.2, r2, cut[setting], cut[setting], 0.8)
        for (setting, precision), r2 in kept.items()
    ]
    rows.append(("uncoded", np.nan, np.nan, np.nan, 1.0, 0.0, 0.0, 0.82))
    columns = ["setting", "float_precision", "n_symbols", "bits_per_gene", "decode_r2",
               "clipped_train", "clipped_test", "accuracy"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


CODE = {
    "decode_r2": 0.99995, "clipped_train": 0.0, "clipped_test": 0.0004, "mantel_r": 0.11,
    "mantel_p": 0.15, "published_r": 0.86, "published_r_independent": 0.88, "n_texts": 60,
    "n_train": 48, "n_test": 12, "n_genes": 40, "genes": [f"GENE{i}" for i in range(40)],
    "text_length": 43, "table_symbols": 513, "clipped_drawn": 0.0,
}  # fmt: skip


def prediction_rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "part": ["test"] * 3 + ["external"] * 4,
            "row": range(7),
            "true": ["CMS1", "CMS2", "CMS3", "CMS1", "CMS1", "CMS2", "other"],
            "called": ["CMS1", "CMS2", "CMS1", "CMS1", "CMS2", "CMS2", "CMS3"],
            "confidence": 0.7,
        }
    )


def results_of(**changes) -> LMResults:
    tables = {
        "scores": score_rows(),
        "answers": answer_rows(),
        "attacks": attack_rows(),
        "distortion": distortion_rows(),
        "code": CODE,
        "predictions": prediction_rows(),
        "signatures": {},
    }
    return LMResults(**(tables | changes))
