"""Column means of rows spread over a gang: load my shard, add up, allreduce, divide.

harpy run examples/column_means.py --n-node 4 --n-thread 2 --data X=rows.npy
"""

import numpy as np


def main(ctx):
    rows = ctx.data["X"].load()  # my shard: (rows of this worker, columns)
    total = ctx.comm.allreduce(rows.sum(axis=0, dtype=np.float64))
    count = ctx.comm.allreduce(np.array([len(rows)]))
    ctx.progress(1.0, rows=int(count[0]))
    return {"means": total / count[0], "n_rows": int(count[0]), "n_node": ctx.size}


if __name__ == "__main__":
    import harpy

    X = np.random.default_rng(0).normal(size=(100_000, 4))
    with harpy.Session(n_node=2) as session:
        print(session.run(main, data={"X": X}).value)
