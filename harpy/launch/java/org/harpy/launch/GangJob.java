package org.harpy.launch;

import java.io.IOException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.io.NullWritable;
import org.apache.hadoop.mapreduce.Job;
import org.apache.hadoop.mapreduce.JobID;
import org.apache.hadoop.mapreduce.lib.output.NullOutputFormat;
import org.apache.hadoop.yarn.api.records.ApplicationId;

/** The MapReduce job that carries a gang; every setting of it comes from the driver. */
final class GangJob {
  final Job job;
  final ApplicationId applicationId;
  final int worldSize;

  private GangJob(Job job, int worldSize) {
    JobID id = job.getJobID();
    this.job = job;
    this.applicationId = ApplicationId.newInstance(Long.parseLong(id.getJtIdentifier()), id.getId());
    this.worldSize = worldSize;
  }

  /** Connects to the staging file system and loads the classes of a submission. */
  static void warm(Configuration conf) throws IOException {
    FileSystem files = FileSystem.get(conf);
    files.exists(new Path(conf.get("yarn.app.mapreduce.am.staging-dir", "/tmp")));
    Job.getInstance(conf);
  }

  static GangJob submit(Configuration conf, byte[] secret)
      throws IOException, InterruptedException, ClassNotFoundException {
    Job job = Job.getInstance(conf);
    job.setJarByClass(GangJob.class);
    job.setInputFormatClass(GangInputFormat.class);
    job.setMapperClass(GangMapper.class);
    job.setNumReduceTasks(0);
    job.setOutputFormatClass(NullOutputFormat.class);
    job.setMapOutputKeyClass(NullWritable.class);
    job.setMapOutputValueClass(NullWritable.class);
    job.getCredentials().addSecretKey(Keys.SECRET, secret);
    job.submit();
    return new GangJob(job, conf.getInt(Keys.N_NODE, 1));
  }
}
