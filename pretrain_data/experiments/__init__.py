"""Small models choose the mixture, scaling laws the size, hardware the run.

propose    mixtures on the simplex, with subsets of the export to train on
results    the table that the trainers fill in
laws       the loss as a sum of exponentials; fitted by Huber's loss
fit        one law for each channel, with intervals and doubts
recommend  the best mixture, size and tokens under those laws
benchmark  from loss to benchmark score
runplan    from GPUs and days to a model's shape and its schedule
watch      per-channel loss over a series of checkpoints
"""
