"""Training of continuous normalising flows: couplings, flow matching, maximum likelihood."""
