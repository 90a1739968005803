"""Performance counters: names, groups, and reading them for a process tree or the machine."""
