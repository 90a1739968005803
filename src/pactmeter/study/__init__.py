"""Studies: a matrix of workloads and trials, run and told in a way that makes them comparable."""
