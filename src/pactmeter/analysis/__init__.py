"""From the files of a run to energies, uncertainties and a verdict."""
