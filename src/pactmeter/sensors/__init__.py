"""What can be read on a machine: one file a sensor, one line each in the registry."""
