"""spark-submit jobs/select.py --config CONFIG: what `pretrain-data stage select CONFIG` does."""

from pretrain_data.cli import stage_main

if __name__ == "__main__":
    stage_main("select")
