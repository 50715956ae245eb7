"""spark-submit jobs/quality.py --config CONFIG: what `pretrain-data stage quality CONFIG` does."""

from pretrain_data.cli import stage_main

if __name__ == "__main__":
    stage_main("quality")
