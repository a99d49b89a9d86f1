package org.harpy.launch;

import org.apache.hadoop.io.Text;

/** Names of the job's own settings; harpy/launch/yarn/job_settings.py writes them. */
final class Keys {
  static final String PYTHON = "harpy.python";
  static final String N_NODE = "harpy.n-node";
  static final String N_THREAD = "harpy.n-thread";
  /** What the worker's process may use; 0 where it is not limited. */
  static final String MEMORY_MB = "harpy.memory-mb";
  static final String JOB_URL = "harpy.job-url";
  /** Added to the attempt's number: above those of a job whose directory this one takes over. */
  static final String FIRST_ATTEMPT = "harpy.first-attempt";
  /** "low-high", both 0 for any port. */
  static final String PORT_RANGE = "harpy.port-range";
  /** How long a worker may be silent. */
  static final String SILENCE_MS = "harpy.silence-ms";
  /** How long a worker may take to its first line: interpreter and imports, perhaps from NFS. */
  static final String HELLO_MS = "harpy.hello-ms";
  /** Comma-separated node names the ranks should run on, in rank order; empty for anywhere. */
  static final String HOSTS = "harpy.hosts";
  /**
   * Prefix of what a rank reads, followed by its number: lines of offset, length and path. The rank
   * should run where these bytes are.
   */
  static final String SHARE = "harpy.share.";
  /** Prefix of environment variables for the worker. */
  static final String ENV = "harpy.env.";
  /** The secret's name in the job's credentials. It is in no configuration. */
  static final Text SECRET = new Text("harpy.secret");

  private Keys() {}
}
