"""An Airflow DAG: one task a night. The pipeline itself skips, resumes and locks, so it is not cut into tasks."""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG(
    "pretrain_data_nightly",
    schedule="15 2 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,  # one run takes up all nights that were missed
    max_active_runs=1,
) as dag:
    BashOperator(
        task_id="nightly",
        bash_command="/srv/pretrain_data/scripts/nightly.sh /srv/configs/nightly.yaml --wait 60",
        retries=2,
        retry_delay=timedelta(minutes=15),
        skip_on_exit_code=4,  # another run holds the workspace
    )
