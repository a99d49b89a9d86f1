package org.harpy.launch;

import org.apache.hadoop.fs.ClusterStorageCapacityExceededException;

/**
 * A worker's failure that no other attempt makes good. MapReduce has one way to express that: an
 * exception of the class above ends the job at once where mapreduce.job.dfs.storage.capacity.kill-limit-exceed is set
 * (MAPREDUCE-7148). Clusters before Hadoop 3.3 do not have the class; there the attempts that follow
 * find their session over and leave.
 */
final class FinalFailure extends ClusterStorageCapacityExceededException {
  private static final long serialVersionUID = 1L;

  FinalFailure(String message) {
    super(message);
  }
}
