"""KMeans of Spark's MLlib on Parquet in HDFS, as its users write it; a child of spark_mllib.py.

The only argument is the task as JSON; the last line on stdout is what it came to.
"""

from __future__ import annotations

import json
import sys
import time

from pyspark.ml.clustering import KMeans
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import SparkSession


def main() -> None:
    task = json.loads(sys.argv[1])
    builder = SparkSession.builder.master("yarn").appName("beside-harpy")
    for key, value in task["settings"].items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    table = spark.read.parquet(task["rows"])
    # Evaluated once, on the executors, when KMeans puts the rows into their memory.
    assembler = VectorAssembler(inputCols=task["columns"], outputCol="features")
    estimator = KMeans(
        k=task["n_clusters"],
        maxIter=task["n_iter"],
        tol=0.0,
        initMode="random",
        seed=task["seed"],
        solver=task["solver"],
    )
    model = estimator.fit(assembler.transform(table).select("features"))
    fitted_at = time.time()
    model.write().save(task["model"])
    came_to = {
        "fitted_at": fitted_at,
        "written_at": time.time(),
        "n_iter": model.summary.numIter,
        "inertia": model.summary.trainingCost,
    }
    print(json.dumps(came_to), flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
