package org.harpy.launch;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
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

  /**
   * Does the first steps of a submission and leaves nothing behind, so that the real one finds its
   * classes loaded and its connections open.
   */
  static void warm(Configuration conf) throws IOException {
    Job job = Job.getInstance(conf);
    job.getConfiguration().writeXml(new ByteArrayOutputStream());
    FileSystem.get(conf).exists(Cluster.stagingRoot(conf));
    new org.apache.hadoop.mapreduce.Cluster(conf).close();
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
