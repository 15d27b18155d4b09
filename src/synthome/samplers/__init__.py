"""Classical samplers of synthetic cohorts: the controls now, more generators later."""
