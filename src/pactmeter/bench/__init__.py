"""The emulated machine: known joules in, presented to unmodified client libraries."""
