"""The section on the latent ODE: spirals that are seen at irregular times go on."""
