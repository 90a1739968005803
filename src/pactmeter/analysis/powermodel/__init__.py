"""A power model from counters: windows of runs, checks, fit, judgement by left-out workloads."""
