"""spark-submit jobs/ingest.py --config CONFIG: what `pretrain-data stage ingest CONFIG` does."""

from pretrain_data.cli import stage_main

if __name__ == "__main__":
    stage_main("ingest")
