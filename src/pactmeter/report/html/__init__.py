"""A run as one HTML file: it asks for nothing from anywhere, and opens from a disk."""
