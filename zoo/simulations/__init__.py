"""Data by physics: simulations that make what models are trained on."""
