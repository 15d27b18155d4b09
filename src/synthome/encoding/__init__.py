"""Expression as text: a table of symbols, fitted on training rows, and what is lost by it."""
