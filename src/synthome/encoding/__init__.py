"""Expression as text: a table of symbols, the tokens of a language model, what is lost by it."""
