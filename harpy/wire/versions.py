"""Versions of everything that driver, workers and launchers must agree on; one place to raise them.

Each reader checks its version and refuses another.
"""

HANDSHAKE = 2  # authentication and all control messages after it (auth.py, to_*.py)
WORKER_LINES = 1  # a launcher's hello and the lines of its worker (hello.py)
JOB_JSON = 1  # job.json and run.json (job_spec.py, run_spec.py)
STAGED_ROWS = 2  # data/<hash>/manifest.json
VALUES = 1  # params.json and result.json
ROW_PARTS = 1  # manifest.json of a directory of row parts, such as labels
