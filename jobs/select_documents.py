"""spark-submit jobs/select_documents.py --config CONFIG: what `pretrain-data stage select CONFIG` does.

Not select.py: the folder of a job comes first on the path, and that name would hide the standard library's module.
"""

from pretrain_data.cli import stage_main

if __name__ == "__main__":
    stage_main("select")
