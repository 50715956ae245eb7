"""spark-submit jobs/selection.py --config CONFIG: what `pretrain-data stage selection CONFIG` does."""

from pretrain_data.cli import stage_main

if __name__ == "__main__":
    stage_main("selection")
