package org.harpy.launch;

import org.apache.hadoop.io.IntWritable;
import org.apache.hadoop.io.NullWritable;
import org.apache.hadoop.io.Text;
import org.apache.hadoop.mapreduce.Mapper;

/** Passes a worker's status lines and counters to the application master. */
public final class GangMapper extends Mapper<IntWritable, Text, NullWritable, NullWritable> {
  @Override
  protected void map(IntWritable rank, Text line, Context context) {
    String[] words = line.toString().split(" ", 2);
    String rest = words.length > 1 ? words[1] : "";
    if (words[0].equals("status")) {
      context.setStatus(rest);
    } else if (words[0].equals("counter")) {
      count(rest.split(" "), context);
    }
  }

  private static void count(String[] words, Context context) {
    if (words.length != 3) {
      return;
    }
    try {
      context.getCounter(words[0], words[1]).increment(Long.parseLong(words[2]));
    } catch (NumberFormatException e) {
      System.err.println("harpy: ignored a counter whose increment is no integer: " + words[2]);
    }
  }
}
