"""Training of classifiers with few labels: the generative model's objective and its baselines."""
