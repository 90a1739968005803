"""The sampler: a process of its own that reads devices and counters on an absolute schedule."""
