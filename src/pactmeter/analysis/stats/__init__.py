"""Statistics of sets of runs: what each figure is, how sure, and whether two sets differ."""
