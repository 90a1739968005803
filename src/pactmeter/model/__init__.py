"""What is measured: channels, findings, energies and fitted curves. Plain data."""
