"""How good synthetic rows are: pure metrics, their words, and the protocol that fills a table.

``fidelity``, ``two_sample``, ``modules``, ``utility``, ``biology``, ``biomarkers`` and ``privacy``
hold functions of arrays, real first and synthetic second. ``protocol`` runs them on folds with a
floor, a ceiling and a cheat beside the model; ``summary`` turns folds into ``metrics.json``.
"""
