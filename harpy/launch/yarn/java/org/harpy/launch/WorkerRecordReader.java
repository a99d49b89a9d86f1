package org.harpy.launch;

import java.io.IOException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.io.IntWritable;
import org.apache.hadoop.io.Text;
import org.apache.hadoop.mapreduce.InputSplit;
import org.apache.hadoop.mapreduce.RecordReader;
import org.apache.hadoop.mapreduce.TaskAttemptContext;

/**
 * The Python worker is the record reader: each protocol line is a record, its progress is the
 * task's, its exit code decides the attempt.
 */
public final class WorkerRecordReader extends RecordReader<IntWritable, Text> {
  private static final int EXIT_FIRST_CAUSE = 1;
  private static final int EXIT_ECHO = 75;
  private static final int EXIT_SUPERSEDED = 76;
  private static final int EXIT_UNREACHABLE = 77;
  /** How long an echo waits for the first cause to end the job, so that no other attempt starts. */
  private static final long ECHO_MS = 5000;
  /** How long the container of a worker that cannot reach rank 0 is kept. */
  private static final long KEEP_ROOM_MS = 10000;

  private final IntWritable rank = new IntWritable();
  private final Text line = new Text();
  private TaskAttemptContext context;
  private WorkerCommand command;
  private WorkerProcess worker;
  private float progress;
  private String error;
  private boolean leftWell;

  @Override
  public void initialize(InputSplit split, TaskAttemptContext attempt) throws IOException {
    RankSplit mine = (RankSplit) split;
    Configuration conf = attempt.getConfiguration();
    context = attempt;
    rank.set(mine.rank());
    command = new WorkerCommand(conf, attempt);
    String hello = command.hello(mine);
    try {
      worker =
          new WorkerProcess(
              command.builder(),
              hello,
              conf.getLong(Keys.SILENCE_MS, 15000),
              conf.getLong(Keys.HELLO_MS, 60000));
    } catch (IOException e) {
      throw WorkerFailure.of(
          facts("InterpreterMissing")
              .put("message", e.getMessage())
              .put("python", command.python())
              .put("user", System.getProperty("user.name")),
          true);
    }
  }

  @Override
  public boolean nextKeyValue() throws IOException, InterruptedException {
    for (String next = worker.nextLine(); next != null; next = worker.nextLine()) {
      // The watchdog covers silence, so MapReduce's own timeout is only for tasks that vanished.
      context.progress();
      if (next.startsWith("progress ")) {
        progress = fraction(next.substring(9));
      } else if (next.startsWith("error ")) {
        error = next.substring(6);
      } else if (next.equals("bye")) {
        leftWell = true;
      } else if (next.startsWith("status ") || next.startsWith("counter ")) {
        line.set(next);
        return true;
      }
    }
    if (worker.killedBecause() != null || worker.exitCode() != 0 || !leftWell) {
      throw failure();
    }
    progress = 1;
    return false;
  }

  private IOException failure() throws InterruptedException {
    int code = worker.exitCode();
    boolean echo = code == EXIT_ECHO || code == EXIT_SUPERSEDED;
    if (code == EXIT_ECHO) {
      Thread.sleep(ECHO_MS);
    }
    if (code == EXIT_UNREACHABLE) {
      keepRoom();
    }
    Json facts =
        facts("WorkerLost")
            .put("exit_code", code)
            .put("greeted", worker.greeted())
            .put("killed_because", worker.killedBecause())
            .put("echo", echo)
            .put("error", error)
            .put("python", command.python());
    facts.putEndOf("stderr", StderrTail.read(), WorkerFailure.LONGEST);
    boolean said = code == EXIT_FIRST_CAUSE && error != null;
    return WorkerFailure.of(facts, said || !worker.greeted());
  }

  /** Keeps the container a while, so that YARN places the next attempt on another node. */
  private static void keepRoom() {
    Runnable wait =
        () -> {
          try {
            Thread.sleep(KEEP_ROOM_MS);
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
          }
        };
    Runtime.getRuntime().addShutdownHook(new Thread(wait, "harpy-keep-room"));
  }

  private Json facts(String kind) {
    return new Json()
        .put("kind", kind)
        .put("rank", rank.get())
        .put("attempt", context.getTaskAttemptID().toString())
        .put("host", WorkerCommand.nodeName());
  }

  private static float fraction(String text) {
    try {
      float value = Float.parseFloat(text);
      return value >= 0 ? Math.min(value, 1) : 0;
    } catch (NumberFormatException e) {
      return 0;
    }
  }

  @Override
  public IntWritable getCurrentKey() {
    return rank;
  }

  @Override
  public Text getCurrentValue() {
    return line;
  }

  @Override
  public float getProgress() {
    return progress;
  }

  @Override
  public void close() {
    if (worker != null) {
      worker.destroy();
    }
  }
}
