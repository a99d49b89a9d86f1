package org.harpy.launch;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.apache.hadoop.mapred.JobConf;
import org.apache.hadoop.yarn.conf.YarnConfiguration;
import org.apache.hadoop.yarn.exceptions.ApplicationNotFoundException;

/**
 * Submits for the driver: commands come on stdin, one per line with percent-encoded words, events
 * go to stdout (docs/yarn-launcher.md lists both). The end of stdin ends this process; a job that
 * was submitted goes on.
 */
public final class Submitter {
  private static final long WITHDRAW_S = 60;

  private final Events events;
  private final ExecutorService work =
      Executors.newSingleThreadExecutor(Submitter::daemon);
  private final YarnConfiguration conf = new YarnConfiguration(new JobConf());
  private final Cluster cluster;
  private byte[] secret;
  private volatile Follower follower;
  private volatile boolean submitting;

  private Submitter(Events events) {
    this.events = events;
    this.cluster = new Cluster(conf);
  }

  private static Thread daemon(Runnable body) {
    Thread thread = new Thread(body, "harpy-submitter");
    thread.setDaemon(true);
    return thread;
  }

  public static void main(String[] args) throws IOException {
    // Descriptor 1 carries events only; whatever Hadoop or a library prints goes to stderr.
    Events events = new Events(new PrintStream(System.out, false, "UTF-8"));
    System.setOut(System.err);
    Submitter submitter = new Submitter(events);
    events.send("ready", new Json().put("java", System.getProperty("java.version")));
    BufferedReader in =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      String[] words = line.split(" ");
      for (int i = 0; i < words.length; i++) {
        words[i] = URLDecoder.decode(words[i], "UTF-8");
      }
      if (words[0].equals("detach")) {
        break;
      }
      submitter.command(words);
    }
    submitter.withdraw();
    // Not exit(): Hadoop's shutdown hooks would wait for file systems that are not needed any more.
    Runtime.getRuntime().halt(0);
  }

  private void command(String[] words) {
    switch (words[0]) {
      case "conf":
        conf.set(words[1], words.length > 2 ? words[2] : "");
        break;
      case "secret":
        secret = fromHex(words[1]);
        break;
      case "kill":
        // Not queued behind a submission that may hang: an existing follower is asked at once.
        new Thread(() -> kill(words[1]), "harpy-kill").start();
        break;
      case "limits":
        run("ClusterUnreachable", () -> events.send("limits", cluster.limits()));
        break;
      case "warm":
        new Thread(this::warm, "harpy-warm").start();
        break;
      case "submit":
        submitting = true;
        run("SubmissionRefused", this::submit);
        break;
      case "list":
        run("ClusterUnreachable", () -> events.send("applications", cluster.list()));
        break;
      case "states":
        List<String> ids = Arrays.asList(words).subList(1, words.length);
        run("ClusterUnreachable", () -> events.send("applications", cluster.states(ids)));
        break;
      case "kill-application":
        run(
            "LaunchError",
            () -> {
              cluster.kill(words[1], words[2]);
              events.send("killed", new Json().put("application_id", words[1]));
            });
        break;
      default:
        events.error("ProtocolError", new IOException("unknown command " + words[0]));
    }
  }

  private interface Step {
    void run() throws Exception;
  }

  /** One command after the other, so that a submission never overtakes the settings before it. */
  private void run(String kind, Step step) {
    work.execute(
        () -> {
          try {
            step.run();
          } catch (Cluster.Unreachable e) {
            events.error("ClusterUnreachable", e);
          } catch (ApplicationNotFoundException e) {
            events.error("JobNotFound", e);
          } catch (Exception | LinkageError e) {
            e.printStackTrace();
            events.error(kind, e);
          }
        });
  }

  /** Loads what a submission needs while the driver still validates and stages. */
  private void warm() {
    try {
      GangJob.warm(conf);
    } catch (IOException | LinkageError e) {
      // The submission will fail in the same way and report it.
      System.err.println("harpy: warming up: " + e);
    }
  }

  private void submit() throws Exception {
    try {
      GangJob job = GangJob.submit(conf, secret);
      follower = new Follower(job, cluster, events);
      follower.start();
    } finally {
      submitting = false;
    }
  }

  /**
   * A driver that died during the submission does not know of the job and has not staged its rows:
   * the job is killed, and its staging folder is removed.
   */
  private void withdraw() {
    if (!submitting) {
      return;
    }
    work.execute(
        () -> {
          if (follower != null) {
            follower.kill("its driver died while it was being submitted");
          }
        });
    work.shutdown();
    try {
      work.awaitTermination(WITHDRAW_S, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void kill(String reason) {
    Follower current = follower;
    if (current == null) {
      // Before the submission is accepted or refused: queued behind it.
      work.execute(() -> killSubmitted(reason));
    } else {
      current.kill(reason);
    }
  }

  private void killSubmitted(String reason) {
    if (follower == null) {
      events.send("not_submitted", new Json());
    } else {
      follower.kill(reason);
    }
  }

  private static byte[] fromHex(String text) {
    byte[] bytes = new byte[text.length() / 2];
    for (int i = 0; i < bytes.length; i++) {
      bytes[i] = (byte) Integer.parseInt(text.substring(2 * i, 2 * i + 2), 16);
    }
    return bytes;
  }
}
