"""One script per claim: ours against a naive reference, interleaved, as a ratio."""
