"""Figures: data frames and AnnData in, one matplotlib ``Figure`` out, no global state."""
