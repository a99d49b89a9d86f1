package org.harpy.launch;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.MRJobConfig;
import org.apache.hadoop.net.NetUtils;
import org.apache.hadoop.security.UserGroupInformation;
import org.apache.hadoop.yarn.api.protocolrecords.GetApplicationsRequest;
import org.apache.hadoop.yarn.api.records.ApplicationId;
import org.apache.hadoop.yarn.api.records.ApplicationReport;
import org.apache.hadoop.yarn.api.records.ApplicationResourceUsageReport;
import org.apache.hadoop.yarn.api.records.FinalApplicationStatus;
import org.apache.hadoop.yarn.api.records.YarnApplicationState;
import org.apache.hadoop.yarn.client.api.YarnClient;
import org.apache.hadoop.yarn.conf.YarnConfiguration;
import org.apache.hadoop.yarn.exceptions.ApplicationNotFoundException;

/** Questions to the resource manager: its limits, the state of applications, a kill. */
final class Cluster {
  /** The resource manager does not answer. */
  static final class Unreachable extends IOException {
    private static final long serialVersionUID = 1L;

    Unreachable(String message, IOException cause) {
      super(message, cause);
    }
  }

  private static final String TAG = "harpy";
  private static final long KNOCK_PAUSE_MS = 250;

  private final Configuration conf;
  private YarnClient client;

  Cluster(Configuration conf) {
    this.conf = conf;
  }

  /** The started client; the first call tries to reach the resource manager until the deadline. */
  synchronized YarnClient client() throws IOException {
    if (client == null) {
      int deadlineMs = conf.getInt("harpy.first-contact-ms", 10000);
      knock(deadlineMs);
      Configuration patient = new Configuration(conf);
      // Hadoop's default waits 15 minutes and logs; callers have a deadline of their own.
      patient.setInt(YarnConfiguration.RESOURCEMANAGER_CONNECT_MAX_WAIT_MS, deadlineMs);
      patient.setInt(YarnConfiguration.RESOURCEMANAGER_CONNECT_RETRY_INTERVAL_MS, 500);
      YarnClient starting = YarnClient.createYarnClient();
      starting.init(patient);
      starting.start();
      client = starting;
    }
    return client;
  }

  /** Opens a plain connection first, which is refused at once where Hadoop's client would retry. */
  private void knock(int deadlineMs) throws IOException {
    long deadline = System.nanoTime() + deadlineMs * 1_000_000L;
    List<InetSocketAddress> addresses = addresses();
    for (int i = 0; ; i++) {
      InetSocketAddress address = addresses.get(i % addresses.size());
      try (Socket socket = new Socket()) {
        socket.connect(address, Math.min(deadlineMs, 3000));
        return;
      } catch (IOException e) {
        if (System.nanoTime() > deadline) {
          String where = address.getHostString() + ":" + address.getPort();
          throw new Unreachable(where + ": " + e.getMessage(), e);
        }
      }
      pause();
    }
  }

  private static void pause() throws IOException {
    try {
      Thread.sleep(KNOCK_PAUSE_MS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted", e);
    }
  }

  private List<InetSocketAddress> addresses() {
    List<InetSocketAddress> found = new ArrayList<>();
    for (String suffix : suffixes(conf)) {
      String host = conf.get(YarnConfiguration.RM_HOSTNAME + suffix, "0.0.0.0");
      String text = conf.get(YarnConfiguration.RM_ADDRESS + suffix, host);
      found.add(NetUtils.createSocketAddr(text, YarnConfiguration.DEFAULT_RM_PORT));
    }
    return found;
  }

  /** What is appended to a resource manager's setting: nothing, or the identifiers of a pair. */
  static Collection<String> suffixes(Configuration conf) {
    if (!conf.getBoolean(YarnConfiguration.RM_HA_ENABLED, false)) {
      return Collections.singletonList("");
    }
    List<String> suffixes = new ArrayList<>();
    for (String id : conf.getTrimmedStrings(YarnConfiguration.RM_HA_IDS)) {
      suffixes.add("." + id);
    }
    return suffixes;
  }

  Json limits() throws Exception {
    return new Limits(conf, client()).ask();
  }

  ApplicationReport report(ApplicationId id) throws Exception {
    return client().getApplicationReport(id);
  }

  /** This user's harpy applications, running or ended, as the resource manager remembers them. */
  Json list() throws Exception {
    String user = UserGroupInformation.getCurrentUser().getShortUserName();
    GetApplicationsRequest request =
        GetApplicationsRequest.newInstance(
            Collections.singleton(MRJobConfig.MR_APPLICATION_TYPE));
    request.setUsers(Collections.singleton(user));
    request.setApplicationTags(Collections.singleton(TAG));
    List<Json> found = new ArrayList<>();
    for (ApplicationReport report : client().getApplications(request)) {
      found.add(describe(report));
    }
    return new Json().put("applications", found);
  }

  /** These applications of any user; those the resource manager does not know are left out. */
  Json states(List<String> applicationIds) throws Exception {
    List<Json> found = new ArrayList<>();
    for (String id : applicationIds) {
      try {
        found.add(describe(report(ApplicationId.fromString(id))));
      } catch (ApplicationNotFoundException e) {
        continue; // its absence from the answer says so
      }
    }
    return new Json().put("applications", found);
  }

  /** Kills through the resource manager, which ends all containers, then removes the staging folder. */
  void kill(String applicationId, String reason) throws Exception {
    ApplicationId id = ApplicationId.fromString(applicationId);
    client().killApplication(id, reason);
    removeStaging(id);
  }

  /** Removes the staging folder, which a killed application master had no time to remove. */
  void removeStaging(ApplicationId id) throws IOException {
    String job = id.toString().replaceFirst("application", "job");
    FileSystem.get(conf).delete(new Path(stagingRoot(conf), job), true);
  }

  /** Where MapReduce puts this user's staging folders. */
  static Path stagingRoot(Configuration conf) throws IOException {
    String root = conf.get("yarn.app.mapreduce.am.staging-dir", "/tmp/hadoop-yarn/staging");
    String user = UserGroupInformation.getCurrentUser().getShortUserName();
    return new Path(root, user + "/.staging");
  }

  static Json describe(ApplicationReport report) {
    // A user who may not view an application gets it without its usage.
    ApplicationResourceUsageReport usage = report.getApplicationResourceUsageReport();
    return new Json()
        .put("application_id", report.getApplicationId())
        .put("name", report.getName())
        .put("user", report.getUser())
        .put("queue", report.getQueue())
        .put("tags", new ArrayList<>(report.getApplicationTags()))
        .put("state", stateOf(report))
        .put("tracking_url", report.getTrackingUrl())
        .put("progress", report.getProgress())
        .put("started_ms", report.getStartTime())
        .put("finished_ms", report.getFinishTime())
        .put("diagnostics", report.getDiagnostics())
        .put("containers", usage == null ? 0 : usage.getNumUsedContainers())
        .put("queue_percent", usage == null ? 0 : usage.getQueueUsagePercentage());
  }

  /** A state of harpy/launch/base.py: YARN's two words (life, outcome) as one. */
  static String stateOf(ApplicationReport report) {
    switch (report.getYarnApplicationState()) {
      case RUNNING:
        return "running";
      case FAILED:
        return "failed";
      case KILLED:
        return "killed";
      case FINISHED:
        return outcome(report.getFinalApplicationStatus());
      default:
        return "submitted";
    }
  }

  private static String outcome(FinalApplicationStatus status) {
    switch (status) {
      case SUCCEEDED:
        return "succeeded";
      case KILLED:
        return "killed";
      default:
        return "failed";
    }
  }
}
