"""spark-submit jobs/classify.py --config CONFIG: what `pretrain-data stage classify CONFIG` does."""

from pretrain_data.cli import stage_main

if __name__ == "__main__":
    stage_main("classify")
