"""DAALKMeans on Parquet in HDFS, as its users write it; a child of spark_mllib.py.

The only argument is the task as JSON; the last line on stdout is what it came to.
"""

from __future__ import annotations

import json
import sys
import time

import harpy


def main() -> None:
    task = json.loads(sys.argv[1])
    # The session first, as Spark has it: scikit-learn is imported while its workers start.
    with harpy.Session(
        n_node=task["n_worker"], n_thread=1, n_mem=task["memory_mb"], launcher="yarn"
    ) as session:
        model = harpy.DAALKMeans(
            task["n_clusters"],
            task["n_iter"],
            tol=0.0,
            random_state=task["seed"],
            session=session,
        )
        model.fit(task["rows"], columns=task["columns"])
        fitted_at = time.time()
        model.save(task["model"])
        came_to = {
            "fitted_at": fitted_at,
            "written_at": time.time(),
            "n_iter": model.n_iter_,
            "inertia": model.inertia_,
        }
        print(json.dumps(came_to), flush=True)


if __name__ == "__main__":
    main()
