"""spark-submit jobs/mix.py --config CONFIG: what `pretrain-data stage mix CONFIG` does."""

from pretrain_data.cli import stage_main

if __name__ == "__main__":
    stage_main("mix")
