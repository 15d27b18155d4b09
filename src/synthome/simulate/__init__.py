"""Cohorts in which the right answer is known, so that each claim of the project is a test."""
