package org.harpy.launch;

import java.io.DataInput;
import java.io.DataOutput;
import java.io.IOException;
import org.apache.hadoop.io.Writable;
import org.apache.hadoop.mapreduce.InputSplit;

/** The "input" of one map task: the rank of the worker it starts. */
public final class RankSplit extends InputSplit implements Writable {
  private int rank;
  private int worldSize;
  private String[] hosts = new String[0];

  /** For Hadoop's deserialisation. */
  public RankSplit() {}

  RankSplit(int rank, int worldSize, String[] hosts) {
    this.rank = rank;
    this.worldSize = worldSize;
    this.hosts = hosts.clone();
  }

  int rank() {
    return rank;
  }

  int worldSize() {
    return worldSize;
  }

  /** Hadoop numbers tasks by descending length: rank 0 is the longest, so task i is rank i. */
  @Override
  public long getLength() {
    return worldSize - rank;
  }

  @Override
  public String[] getLocations() {
    return hosts.clone();
  }

  @Override
  public void write(DataOutput out) throws IOException {
    out.writeInt(rank);
    out.writeInt(worldSize);
  }

  @Override
  public void readFields(DataInput in) throws IOException {
    rank = in.readInt();
    worldSize = in.readInt();
  }
}
