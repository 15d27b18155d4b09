"""One model, one file: equations, config, loss, sample."""
