"""The windows that ``pactmeter validate`` marks in a run, and how many the rules want of them.

Source: MLPerf Training's power rules, on software meters.
"""

PREFIX = "validate."
"""What the names of the marked windows begin with; the rest is the load."""
IDLE = "idle"
WINDOWS, WINDOW_S, LOADS = 5, 60.0, 3
AGREES_PCT = 5.0
"""Bound on how far the Olympic means of source and meter may be apart."""
