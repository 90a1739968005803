"""Where people work: training frameworks, notebooks, tests. Each imports only its own framework."""
