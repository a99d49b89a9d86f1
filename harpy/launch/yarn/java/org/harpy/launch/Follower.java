package org.harpy.launch;

import java.io.IOException;
import java.util.concurrent.TimeUnit;
import org.apache.hadoop.yarn.api.records.ApplicationReport;
import org.apache.hadoop.yarn.exceptions.ApplicationNotFoundException;

/**
 * Follows one job by polling: the resource manager for its state in one thread, its application
 * master for attempts in another, so that a lost master's node does not hide the job's state.
 */
final class Follower {
  private static final long POLL_MS = 100;
  /** For the last questions to the master, which answers for 5 s after the job has ended. */
  private static final long LAST_QUESTIONS_MS = 2000;
  /** Unknown so many times in a row: a resource manager may still be reading its store. */
  private static final int FORGOTTEN = 30;

  private final GangJob gang;
  private final Cluster cluster;
  private final Events events;
  private final MasterWatch master;
  private String lastState = "";
  private long silentSince;
  private int unknown;

  Follower(GangJob gang, Cluster cluster, Events events) {
    this.gang = gang;
    this.cluster = cluster;
    this.events = events;
    this.master = new MasterWatch(gang, events);
  }

  void start() {
    events.send(
        "accepted",
        new Json()
            .put("application_id", gang.applicationId)
            .put("tracking_url", gang.job.getTrackingURL()));
    Thread thread = new Thread(this::follow, "harpy-follow");
    thread.setDaemon(true);
    thread.start();
  }

  void kill(String reason) {
    try {
      cluster.kill(gang.applicationId.toString(), reason);
    } catch (Exception e) {
      events.error("KillFailed", e);
    }
  }

  private void follow() {
    try {
      ApplicationReport report = poll();
      while (!ended(report) && unknown < FORGOTTEN) {
        Thread.sleep(POLL_MS);
        report = poll();
      }
      master.lastLook(LAST_QUESTIONS_MS);
      tidy(report);
      events.send("ended", report == null ? forgotten() : Cluster.describe(report));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static boolean ended(ApplicationReport report) {
    if (report == null) {
      return false;
    }
    String state = Cluster.stateOf(report);
    return !state.equals("submitted") && !state.equals("running");
  }

  private Json forgotten() {
    return new Json()
        .put("application_id", gang.applicationId)
        .put("state", "unknown")
        .put(
            "diagnostics",
            "the ResourceManager no longer knows the application: it may have been restarted without"
                + " yarn.resourcemanager.recovery.enabled, or another answers in its place");
  }

  /** Null while the resource manager does not answer: it may restart and remember the job. */
  private ApplicationReport poll() throws InterruptedException {
    try {
      ApplicationReport report = cluster.report(gang.applicationId);
      silentSince = 0;
      unknown = 0;
      tell(report);
      if (Cluster.stateOf(report).equals("running")) {
        master.running(report.getCurrentApplicationAttemptId().getAttemptId());
        master.tellSilence();
      }
      return report;
    } catch (InterruptedException e) {
      throw e;
    } catch (ApplicationNotFoundException e) {
      unknown++;
      return null;
    } catch (Exception e) {
      long now = System.nanoTime();
      silentSince = silentSince == 0 ? now : silentSince;
      long seconds = TimeUnit.NANOSECONDS.toSeconds(now - silentSince);
      events.send("silent", new Json().put("seconds", seconds).put("message", e.getMessage()));
      Thread.sleep(10 * POLL_MS);
      return null;
    }
  }

  private void tell(ApplicationReport report) {
    Json facts = Cluster.describe(report);
    String text = facts.toString();
    if (!text.equals(lastState)) {
      lastState = text;
      events.send("state", facts);
    }
  }

  /** Removes the staging folder; not where the master removed it, or may still need it. */
  private void tidy(ApplicationReport report) {
    if (report == null || Cluster.stateOf(report).equals("succeeded")) {
      return;
    }
    try {
      cluster.removeStaging(gang.applicationId);
    } catch (IOException e) {
      System.err.println("harpy: staging folder of " + gang.applicationId + " not removed: " + e);
    }
  }
}
