"""What a run is to do, checked once, before anything starts."""
