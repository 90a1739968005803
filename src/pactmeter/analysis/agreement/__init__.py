"""Do two sources of a run say the same, and what does neither of them cover?

`compare.compare_sources` gives all of it; the statistics stand in modules of their own.
"""
