"""The smallest map-collective program: every worker brings a number, all learn the sum.

harpy run examples/allreduce.py --n-node 4 --n-thread 2
"""

import numpy as np


def main(ctx):
    mine = np.array([ctx.rank + 1], dtype=np.int64)
    total = ctx.comm.allreduce(mine, op="sum")
    ctx.log(f"I brought {mine[0]}, together we have {total[0]}")
    return {"sum": int(total[0]), "n_node": ctx.size, "n_thread": ctx.n_thread}
