"""Loading, training and serving of the scorers."""
