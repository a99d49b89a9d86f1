package org.harpy.launch;

import java.io.IOException;
import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.mapred.TIPStatus;
import org.apache.hadoop.mapreduce.Job;
import org.apache.hadoop.mapreduce.TaskCompletionEvent;
import org.apache.hadoop.mapreduce.TaskReport;
import org.apache.hadoop.mapreduce.TaskType;

/** Asks the application master, in a thread of its own, which workers run and which attempts failed. */
final class MasterWatch {
  private static final int BATCH = 100;
  private static final int REPORTS_EVERY = 5;
  private static final long POLL_MS = 100;
  /** Shorter silences are not reported. */
  private static final long SILENT_S = 5;

  private final GangJob gang;
  private final Events events;
  private final Set<String> told = new HashSet<>();
  private Job job;
  private Thread thread;
  private int seen;
  private int rounds;
  private String lastProgress = "";
  private int connectedTo;
  private volatile long answeredAt = System.nanoTime();
  private long toldSilentFor;
  private volatile int master;
  private volatile boolean stop;

  MasterWatch(GangJob gang, Events events) {
    this.gang = gang;
    this.events = events;
  }

  /** Called while the job runs, with the number of the master's attempt. */
  void running(int masterAttempt) {
    if (master != masterAttempt) {
      master = masterAttempt;
      answeredAt = System.nanoTime();
    }
    if (thread == null) {
      thread = new Thread(this::watch, "harpy-master");
      thread.setDaemon(true);
      thread.start();
    }
  }

  void lastLook(long limitMs) throws InterruptedException {
    stop = true;
    if (thread != null) {
      thread.join(limitMs);
    }
  }

  private void watch() {
    try {
      boolean last;
      do {
        last = stop;
        poll();
        Thread.sleep(last ? 0 : POLL_MS);
      } while (!last);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void poll() throws InterruptedException {
    try {
      if (job == null || connectedTo != master) {
        // A new master starts a new list of events.
        connectedTo = master;
        seen = 0;
        job = connect();
      }
      if (job != null) {
        attempts();
        if (rounds++ % REPORTS_EVERY == 0 && !stop) {
          progress();
        }
        answeredAt = System.nanoTime();
      }
    } catch (IOException e) {
      // The master restarts, or its node is gone: the resource manager's state decides.
      System.err.println("harpy: the application master does not answer: " + e.getMessage());
    }
  }

  /**
   * Called often, while the job runs, by another thread than the one that polls: Hadoop's client
   * retries for ever where a master does not answer, and never returns.
   */
  void tellSilence() {
    long seconds = TimeUnit.NANOSECONDS.toSeconds(System.nanoTime() - answeredAt);
    seconds = seconds < SILENT_S ? 0 : seconds;
    if (seconds != toldSilentFor) {
      toldSilentFor = seconds;
      events.send("master_silent", new Json().put("seconds", seconds));
    }
  }

  /** A client of its own with short deadlines; the submitting one has the job's long ones. */
  private Job connect() throws IOException, InterruptedException {
    Configuration quick = new Configuration(gang.job.getConfiguration());
    quick.setInt("ipc.client.connect.max.retries", 1);
    quick.setInt("ipc.client.connect.retry.interval", 200);
    quick.setInt("ipc.client.rpc-timeout.ms", 5000);
    quick.setInt("yarn.app.mapreduce.client-am.ipc.max-retries", 1);
    quick.setInt("yarn.app.mapreduce.client.max-retries", 1);
    return new org.apache.hadoop.mapreduce.Cluster(quick).getJob(gang.job.getJobID());
  }

  private void attempts() throws IOException, InterruptedException {
    TaskCompletionEvent[] news = job.getTaskCompletionEvents(seen, BATCH);
    for (TaskCompletionEvent event : news) {
      seen++;
      String id = event.getTaskAttemptId().toString();
      TaskCompletionEvent.Status status = event.getStatus();
      boolean failed =
          status == TaskCompletionEvent.Status.FAILED
              || status == TaskCompletionEvent.Status.TIPFAILED;
      // Taken back by the cluster, or ended with the job: the driver distinguishes them.
      boolean killed = status == TaskCompletionEvent.Status.KILLED;
      if ((failed || killed) && told.add(id)) {
        events.send(
            failed ? "attempt_failed" : "attempt_killed",
            new Json()
                .put("attempt", id)
                .put("task", event.getTaskAttemptId().getTaskID().getId())
                .put("node", event.getTaskTrackerHttp())
                .put("diagnostics", String.join("\n", diagnostics(event))));
      }
    }
  }

  private String[] diagnostics(TaskCompletionEvent event)
      throws IOException, InterruptedException {
    String[] lines = job.getTaskDiagnostics(event.getTaskAttemptId());
    return lines == null ? new String[0] : lines;
  }

  private void progress() throws IOException, InterruptedException {
    int running = 0;
    float sum = 0;
    TaskReport[] reports = job.getTaskReports(TaskType.MAP);
    for (TaskReport report : reports) {
      boolean started = report.getCurrentStatus() != TIPStatus.PENDING;
      running += started ? 1 : 0;
      sum += report.getProgress();
    }
    Json facts =
        new Json()
            .put("workers_started", running)
            .put("workers", gang.worldSize)
            .put("progress", reports.length == 0 ? 0 : sum / reports.length);
    String text = facts.toString();
    if (!text.equals(lastProgress)) {
      lastProgress = text;
      events.send("progress", facts);
    }
  }
}
