"""Timings of PACT against its bounds, each a script that prints a table (see `benchmarks.all`)."""
