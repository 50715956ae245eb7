"""spark-submit jobs/synthesize.py --config CONFIG: what `pretrain-data stage synthesize CONFIG` does."""

from pretrain_data.cli import stage_main

if __name__ == "__main__":
    stage_main("synthesize")
