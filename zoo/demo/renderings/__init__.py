"""The demo's section on the deconvolutional generative model: a classifier that renders."""
