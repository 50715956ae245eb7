"""spark-submit jobs/decontaminate.py --config CONFIG: what `pretrain-data stage decontaminate CONFIG` does."""

from pretrain_data.cli import stage_main

if __name__ == "__main__":
    stage_main("decontaminate")
