"""Splits, gene selection and scales: fitted on training rows alone, and invertible."""
