"""Dense text made from long, thin documents by a language model, and the checks that it must pass."""
