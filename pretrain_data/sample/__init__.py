"""A small real crawl with planted truth, made without a network from what any machine has and from pages/."""

from pretrain_data.sample.write import write_sample

__all__ = ["write_sample"]
