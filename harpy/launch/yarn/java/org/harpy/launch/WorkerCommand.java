package org.harpy.launch;

import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.NetworkInterface;
import java.net.SocketException;
import java.net.UnknownHostException;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.mapreduce.MRJobConfig;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.hadoop.security.UserGroupInformation;

/** How a worker is started: its command, environment, HDFS configuration and hello. */
final class WorkerCommand {
  private static final List<String> CLIENT_KEYS =
      Arrays.asList("fs.defaultFS", "fs.viewfs.", "dfs.", "hadoop.security.", "hadoop.rpc.", "ipc.");
  private static final List<String> THREAD_VARIABLES =
      Arrays.asList("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS");

  private final Configuration conf;
  private final TaskAttemptContext attempt;

  WorkerCommand(Configuration conf, TaskAttemptContext attempt) {
    this.conf = conf;
    this.attempt = attempt;
  }

  String python() {
    return conf.get(Keys.PYTHON);
  }

  ProcessBuilder builder() throws IOException {
    ProcessBuilder builder = new ProcessBuilder(python(), "-m", "harpy.gang.worker");
    Map<String, String> env = builder.environment();
    env.put("PYTHONUNBUFFERED", "1");
    for (String variable : THREAD_VARIABLES) {
      env.put(variable, conf.get(Keys.N_THREAD, "1"));
    }
    if (!UserGroupInformation.isSecurityEnabled()) {
      // Else its HDFS client would act as the node manager's unix user.
      env.put("HADOOP_USER_NAME", conf.get(MRJobConfig.USER_NAME, ""));
    }
    env.put("HADOOP_CONF_DIR", confDir().getPath());
    env.putAll(conf.getPropsWithPrefix(Keys.ENV));
    return builder;
  }

  /** The worker's first line of stdin; the secret travels here and nowhere else. */
  String hello(RankSplit split) throws IOException {
    byte[] secret = attempt.getCredentials().getSecretKey(Keys.SECRET);
    if (secret == null) {
      throw new IOException("the job's credentials hold no " + Keys.SECRET);
    }
    StringBuilder hex = new StringBuilder();
    for (byte b : secret) {
      hex.append(String.format("%02x", b));
    }
    String[] ports = conf.get(Keys.PORT_RANGE, "0-0").split("-");
    return new Json()
        .put("protocol", 1)
        .put("rank", split.rank())
        .put("n_node", split.worldSize())
        .put("attempt", conf.getInt(Keys.FIRST_ATTEMPT, 0) + attempt.getTaskAttemptID().getId())
        .put("n_thread", conf.getInt(Keys.N_THREAD, 1))
        .put("memory_mb", conf.getInt(Keys.MEMORY_MB, 0))
        .put("job_url", conf.get(Keys.JOB_URL))
        .put("secret", hex)
        .put("bind", localAddress(nodeName()))
        .put("port_range", Arrays.asList(Integer.parseInt(ports[0]), Integer.parseInt(ports[1])))
        .put("hadoop_conf_dir", writeConf())
        .toString();
  }

  private static File confDir() {
    return new File("harpy-conf").getAbsoluteFile();
  }

  /**
   * Writes the job's HDFS client settings for the worker. The node's own files may lack what the
   * driver's say (a name service, -D options), and a node need not have any.
   */
  private String writeConf() throws IOException {
    Configuration client = new Configuration(false);
    for (Map.Entry<String, String> entry : conf) {
      String key = entry.getKey();
      if (CLIENT_KEYS.stream().anyMatch(key::startsWith) && !isDefault(key)) {
        client.set(key, conf.get(key));
      }
    }
    File folder = confDir();
    if (!folder.isDirectory() && !folder.mkdir()) {
      throw new IOException("cannot make the folder " + folder);
    }
    try (OutputStream out = new FileOutputStream(new File(folder, "core-site.xml"))) {
      client.writeXml(out);
    }
    return folder.getPath();
  }

  /** Whether Hadoop's own default files say so: the worker's client has its own defaults. */
  private boolean isDefault(String key) {
    String[] sources = conf.getPropertySources(key);
    return sources != null && sources.length > 0 && sources[0].endsWith("-default.xml");
  }

  static String nodeName() {
    String name = System.getenv("NM_HOST");
    return name != null ? name : "localhost";
  }

  /** The numeric address of this node by its name; other nodes must be able to reach it. */
  private static String localAddress(String host) throws IOException {
    InetAddress loopback = null;
    for (InetAddress address : resolve(host)) {
      if (address.isLoopbackAddress()) {
        loopback = loopback == null ? address : loopback;
      } else if (isLocal(address)) {
        return address.getHostAddress();
      }
    }
    if (loopback == null) {
      throw new IOException("node name " + host + " resolves to no address of this machine");
    }
    return loopback.getHostAddress();
  }

  private static InetAddress[] resolve(String host) throws IOException {
    try {
      return InetAddress.getAllByName(host);
    } catch (UnknownHostException e) {
      throw new IOException("node name " + host + " cannot be resolved on its own machine", e);
    }
  }

  private static boolean isLocal(InetAddress address) {
    try {
      return NetworkInterface.getByInetAddress(address) != null;
    } catch (SocketException e) {
      return false;
    }
  }
}
