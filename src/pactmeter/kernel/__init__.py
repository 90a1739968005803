"""Thin bindings to Linux system calls and the kernel's own tables; no policy."""
