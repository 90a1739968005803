"""A run as the measured program sees it: calls, marks, fork, the end of the interpreter."""
