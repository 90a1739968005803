"""The files of a run: names, locking, append-only tables, the manifest."""
