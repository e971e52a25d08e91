"""The section on continuous normalising flows: eight densities of the plane, known exactly."""
