"""The checks of a run, a small pure function each; `analysis.verdict` combines them."""
