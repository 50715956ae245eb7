"""The steps of the dedup stage: signatures, candidates, verification, survivors."""
