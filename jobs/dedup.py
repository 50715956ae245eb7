"""spark-submit jobs/dedup.py --config CONFIG: what `pretrain-data stage dedup CONFIG` does."""

from pretrain_data.cli import stage_main

if __name__ == "__main__":
    stage_main("dedup")
