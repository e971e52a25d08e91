"""Training of forecasters on spirals: a latent ODE and its two recurrent baselines."""
