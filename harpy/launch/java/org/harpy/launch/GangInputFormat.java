package org.harpy.launch;

import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.io.IntWritable;
import org.apache.hadoop.io.Text;
import org.apache.hadoop.mapreduce.InputFormat;
import org.apache.hadoop.mapreduce.InputSplit;
import org.apache.hadoop.mapreduce.JobContext;
import org.apache.hadoop.mapreduce.RecordReader;
import org.apache.hadoop.mapreduce.TaskAttemptContext;

/** One split per worker: the map tasks of the job are the workers of the gang. */
public final class GangInputFormat extends InputFormat<IntWritable, Text> {
  @Override
  public List<InputSplit> getSplits(JobContext job) {
    int worldSize = job.getConfiguration().getInt(Keys.N_NODE, 1);
    String[] hosts = job.getConfiguration().getTrimmedStrings(Keys.HOSTS);
    List<InputSplit> splits = new ArrayList<>();
    for (int rank = 0; rank < worldSize; rank++) {
      String[] wanted = rank < hosts.length ? new String[] {hosts[rank]} : new String[0];
      splits.add(new RankSplit(rank, worldSize, wanted));
    }
    return splits;
  }

  @Override
  public RecordReader<IntWritable, Text> createRecordReader(
      InputSplit split, TaskAttemptContext context) {
    return new WorkerRecordReader();
  }
}
