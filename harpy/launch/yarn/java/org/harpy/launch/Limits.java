package org.harpy.launch;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URL;
import java.net.URLEncoder;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.net.NetUtils;
import org.apache.hadoop.security.UserGroupInformation;
import org.apache.hadoop.security.authentication.client.AuthenticatedURL;
import org.apache.hadoop.security.authentication.client.AuthenticationException;
import org.apache.hadoop.yarn.api.records.NodeReport;
import org.apache.hadoop.yarn.api.records.NodeState;
import org.apache.hadoop.yarn.api.records.QueueConfigurations;
import org.apache.hadoop.yarn.api.records.QueueInfo;
import org.apache.hadoop.yarn.api.records.Resource;
import org.apache.hadoop.yarn.client.api.YarnClient;
import org.apache.hadoop.yarn.conf.YarnConfiguration;

/**
 * What the cluster allows, as facts; harpy/launch/yarn/preflight.py judges them. User limits and the
 * resource calculator are known only to the resource manager's web service, whose answer is passed
 * on unchanged; without it the facts from RPC must do.
 */
final class Limits {
  private static final int CONNECT_MS = 1000;
  private static final int READ_MS = 4000;

  private final Configuration conf;
  private final YarnClient client;

  Limits(Configuration conf, YarnClient client) {
    this.conf = conf;
    this.client = client;
  }

  Json ask() throws Exception {
    CompletableFuture<String> scheduler = CompletableFuture.supplyAsync(this::schedulerInfo);
    Resource largest =
        client.createApplication().getNewApplicationResponse().getMaximumResourceCapability();
    List<Json> nodes = new ArrayList<>();
    for (NodeReport node : client.getNodeReports(NodeState.RUNNING)) {
      nodes.add(
          new Json()
              .put("host", node.getNodeId().getHost())
              .put("total", resource(node.getCapability()))
              .put("used", resource(node.getUsed())));
    }
    List<Json> queues = new ArrayList<>();
    for (QueueInfo queue : client.getAllQueues()) {
      queues.add(queue(queue));
    }
    String text;
    try {
      text = scheduler.get(CONNECT_MS + READ_MS, TimeUnit.MILLISECONDS);
    } catch (TimeoutException e) {
      text = "the resource manager's web service did not answer in time";
    }
    return new Json()
        .put("largest", resource(largest))
        .put("nodes", nodes)
        .put("queues", queues)
        .put("scheduler", text);
  }

  private static Json resource(Resource resource) {
    if (resource == null) {
      return null;
    }
    return new Json()
        .put("memory_mb", resource.getMemorySize())
        .put("vcores", resource.getVirtualCores());
  }

  private static Json queue(QueueInfo queue) {
    Json facts =
        new Json()
            .put("name", queue.getQueueName())
            .put("state", queue.getQueueState())
            .put("leaf", queue.getChildQueues() == null || queue.getChildQueues().isEmpty())
            .put("capacity", queue.getCapacity())
            .put("maximum_capacity", queue.getMaximumCapacity())
            .put("used_capacity", queue.getCurrentCapacity());
    if (queue.getQueueConfigurations() != null) {
      QueueConfigurations whole = queue.getQueueConfigurations().get("");
      if (whole != null) {
        facts
            .put("absolute_capacity", whole.getAbsoluteCapacity())
            .put("absolute_maximum_capacity", whole.getAbsoluteMaxCapacity())
            .put("am_share", whole.getMaxAMPercentage());
      }
    }
    return facts;
  }

  /** The web service's answer; else a sentence, without a leading brace, that says why not. */
  private String schedulerInfo() {
    String answer = "no address of the resource manager's web service";
    for (String suffix : Cluster.suffixes(conf)) {
      try {
        return get(new URL(base(suffix) + "/ws/v1/cluster/scheduler" + identity()));
      } catch (IOException | AuthenticationException e) {
        answer = "the resource manager's web service did not answer: " + e.getMessage();
      }
    }
    return answer;
  }

  private String base(String suffix) {
    boolean https = "HTTPS_ONLY".equals(conf.get(YarnConfiguration.YARN_HTTP_POLICY_KEY));
    String key =
        https ? YarnConfiguration.RM_WEBAPP_HTTPS_ADDRESS : YarnConfiguration.RM_WEBAPP_ADDRESS;
    String host = conf.get(YarnConfiguration.RM_HOSTNAME + suffix, "0.0.0.0");
    int port =
        https
            ? YarnConfiguration.DEFAULT_RM_WEBAPP_HTTPS_PORT
            : YarnConfiguration.DEFAULT_RM_WEBAPP_PORT;
    String address = conf.get(key + suffix, host + ":" + port);
    return (https ? "https://" : "http://")
        + NetUtils.getHostPortString(NetUtils.createSocketAddr(address, port));
  }

  private static String identity() throws IOException {
    if (UserGroupInformation.isSecurityEnabled()) {
      return "";
    }
    String user = UserGroupInformation.getCurrentUser().getShortUserName();
    return "?user.name=" + URLEncoder.encode(user, "UTF-8");
  }

  private static String get(URL url) throws IOException, AuthenticationException {
    HttpURLConnection connection =
        UserGroupInformation.isSecurityEnabled()
            ? new AuthenticatedURL().openConnection(url, new AuthenticatedURL.Token())
            : (HttpURLConnection) url.openConnection();
    connection.setConnectTimeout(CONNECT_MS);
    connection.setReadTimeout(READ_MS);
    connection.setRequestProperty("Accept", "application/json");
    try (InputStream in = connection.getInputStream()) {
      ByteArrayOutputStream body = new ByteArrayOutputStream();
      byte[] buffer = new byte[8192];
      for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
        body.write(buffer, 0, n);
      }
      return body.toString("UTF-8");
    } finally {
      connection.disconnect();
    }
  }
}
