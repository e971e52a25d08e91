"""The demo's section on controls: a GAN whose images are asked for by their factors."""
