"""Fits against a reference: a line to a meter, the curve of a supply, closure with a counter."""
