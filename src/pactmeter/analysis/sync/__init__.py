"""How a sensor follows a load that is switched at known times: gain, offset, lag, time constant."""
