"""spark-submit jobs/pii.py --config CONFIG: what `pretrain-data stage pii CONFIG` does."""

from pretrain_data.cli import stage_main

if __name__ == "__main__":
    stage_main("pii")
