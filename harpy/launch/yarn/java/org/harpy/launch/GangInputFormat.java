package org.harpy.launch;

import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.BlockLocation;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.io.IntWritable;
import org.apache.hadoop.io.Text;
import org.apache.hadoop.mapreduce.InputFormat;
import org.apache.hadoop.mapreduce.InputSplit;
import org.apache.hadoop.mapreduce.JobContext;
import org.apache.hadoop.mapreduce.RecordReader;
import org.apache.hadoop.mapreduce.TaskAttemptContext;

/** One split per worker: the map tasks of the job are the workers of the gang. */
public final class GangInputFormat extends InputFormat<IntWritable, Text> {
  /** The usual number of replicas of a block: each host is one more request to the scheduler. */
  private static final int MAX_HOSTS = 3;

  @Override
  public List<InputSplit> getSplits(JobContext job) throws IOException {
    Configuration conf = job.getConfiguration();
    int worldSize = conf.getInt(Keys.N_NODE, 1);
    String[] hosts = conf.getTrimmedStrings(Keys.HOSTS);
    List<InputSplit> splits = new ArrayList<>();
    for (int rank = 0; rank < worldSize; rank++) {
      String[] wanted =
          rank < hosts.length ? new String[] {hosts[rank]} : hostsOfShare(conf, rank);
      splits.add(new RankSplit(rank, worldSize, wanted));
    }
    return splits;
  }

  /** The nodes that hold most of what a rank reads, in descending order. */
  private static String[] hostsOfShare(Configuration conf, int rank) throws IOException {
    Map<String, Long> bytes = new HashMap<>();
    String share = conf.getRaw(Keys.SHARE + rank);
    for (String line : share == null || share.isEmpty() ? new String[0] : share.split("\n")) {
      String[] range = line.split(" ", 3);
      Path path = new Path(range[2]);
      FileSystem fs = path.getFileSystem(conf);
      long offset = Long.parseLong(range[0]);
      long length = Long.parseLong(range[1]);
      for (BlockLocation block : fs.getFileBlockLocations(path, offset, length)) {
        for (String host : block.getHosts()) {
          bytes.merge(host, block.getLength(), Long::sum);
        }
      }
    }
    return bytes.entrySet().stream()
        .sorted(Map.Entry.<String, Long>comparingByValue().reversed())
        .limit(MAX_HOSTS)
        .map(Map.Entry::getKey)
        .toArray(String[]::new);
  }

  @Override
  public RecordReader<IntWritable, Text> createRecordReader(
      InputSplit split, TaskAttemptContext context) {
    return new WorkerRecordReader();
  }
}
