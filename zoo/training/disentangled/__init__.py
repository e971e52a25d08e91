"""Training of disentangled StyleGANs: few labels, or none."""
