"""Training of the scorers: labels in, a checkpoint with its card and its figures on unseen sources out."""
