"""spark-submit jobs/export.py --config CONFIG: what `pretrain-data stage export CONFIG` does."""

from pretrain_data.cli import stage_main

if __name__ == "__main__":
    stage_main("export")
