"""A user's script: a session is opened, runs one program and is held without doing anything.

kept_session.py LAUNCHER PARAMS: prints what steps.py gives for the parameters (JSON), then "idle".
"""

import json
import sys
import time
from pathlib import Path

import harpy

if __name__ == "__main__":
    launcher, params = sys.argv[1:]
    program = Path(__file__).with_name("steps.py")
    with harpy.Session(n_node=2, n_mem=512, launcher=launcher) as session:
        result = session.run(program, json.loads(params))
        print(result.value["total"].tolist(), flush=True)
        print("idle", flush=True)
        time.sleep(300)
