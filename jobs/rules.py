"""spark-submit jobs/rules.py --config CONFIG: what `pretrain-data stage rules CONFIG` does."""

from pretrain_data.cli import stage_main

if __name__ == "__main__":
    stage_main("rules")
