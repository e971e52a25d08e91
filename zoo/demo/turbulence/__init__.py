"""The section on turbulence: a small simulation, and forecasts of how others decay."""
