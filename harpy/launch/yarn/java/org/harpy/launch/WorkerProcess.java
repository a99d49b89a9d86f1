package org.harpy.launch;

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * One worker process: starts it, reads its protocol lines, watches its heartbeat and makes sure that
 * it does not outlive this JVM. Has nothing to do with MapReduce.
 */
final class WorkerProcess {
  /** Never returned to callers as a line: the worker's end of the pipe is closed. */
  private static final String END = new String("end");

  private static final int LONGEST_LINE = 1 << 20;
  private static final long DRAIN_MS = 2000;
  private static final long POLL_MS = 200;

  private final Process process;
  private final BlockingQueue<String> lines = new ArrayBlockingQueue<>(1024);
  private final Thread killAtExit;
  private final long silenceMs;
  private final long helloDeadline;
  private volatile long lastHeard = System.nanoTime();
  private volatile boolean greeted;
  private volatile String killedBecause;
  private long drainDeadline;

  WorkerProcess(ProcessBuilder builder, String hello, long silenceMs, long helloMs)
      throws IOException {
    // Descriptor 2 is the container's stderr file; 0 and 1 are the protocol.
    process = builder.redirectError(ProcessBuilder.Redirect.INHERIT).start();
    killAtExit = new Thread(process::destroyForcibly, "harpy-kill-at-exit");
    this.silenceMs = silenceMs;
    this.helloDeadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(helloMs);
    try {
      Runtime.getRuntime().addShutdownHook(killAtExit);
    } catch (IllegalStateException e) {
      process.destroyForcibly();
      throw new IOException("the task is shutting down", e);
    }
    daemon("harpy-worker-stdout", this::readLines);
    try {
      // Left open: its end of file tells the worker that this JVM is gone.
      OutputStream stdin = process.getOutputStream();
      stdin.write((hello + "\n").getBytes(StandardCharsets.UTF_8));
      stdin.flush();
    } catch (IOException e) {
      // It ended before it read its hello: its exit code, read later, says more than this error.
      System.err.println("harpy: writing the worker's hello: " + e);
    }
  }

  private static void daemon(String name, Runnable body) {
    Thread thread = new Thread(body, name);
    thread.setDaemon(true);
    thread.start();
  }

  /**
   * The next protocol line; "" when there is none yet, null when the process has ended and all of
   * its lines were read.
   */
  String nextLine() throws InterruptedException {
    String line = lines.poll(POLL_MS, TimeUnit.MILLISECONDS);
    if (line != null && line != END) {
      return line;
    }
    if (line == END) {
      // Closed its stdout; normally the process ends at once. If not, the watchdog ends it.
      while (!process.waitFor(POLL_MS, TimeUnit.MILLISECONDS)) {
        watch();
      }
      return null;
    }
    watch();
    if (process.isAlive()) {
      return "";
    }
    // A grandchild may hold the pipe open for ever: after the process's end the pipe has a limit.
    long now = System.nanoTime();
    if (drainDeadline == 0) {
      drainDeadline = now + TimeUnit.MILLISECONDS.toNanos(DRAIN_MS);
    }
    return now < drainDeadline ? "" : null;
  }

  /** Kills a worker that was silent too long (stopped, or its interpreter lock never released). */
  private void watch() {
    long now = System.nanoTime();
    if (!greeted && now > helloDeadline) {
      killedBecause = "did not say hello in time: its interpreter or its imports are too slow";
    } else if (greeted && now - lastHeard > TimeUnit.MILLISECONDS.toNanos(silenceMs)) {
      killedBecause =
          String.format("was silent for %.0f s and was killed by the watchdog", silenceMs / 1e3);
    } else {
      return;
    }
    process.destroyForcibly();
  }

  boolean greeted() {
    return greeted;
  }

  /** Why the watchdog killed it, or null. */
  String killedBecause() {
    return killedBecause;
  }

  /** Only after {@link #nextLine} returned null. A signal n is reported as 128 + n. */
  int exitCode() {
    return process.exitValue();
  }

  void destroy() {
    process.destroyForcibly();
    Leftovers.kill();
    try {
      Runtime.getRuntime().removeShutdownHook(killAtExit);
    } catch (IllegalStateException e) {
      // The hook is running already and does the same.
      return;
    }
  }

  private void readLines() {
    try (InputStream in = new BufferedInputStream(process.getInputStream())) {
      for (String line = readLine(in); line != null; line = readLine(in)) {
        // Before the hello any output may come: site packages print at import.
        if (!greeted && !line.startsWith("hello 1 ")) {
          continue;
        }
        greeted = true;
        lastHeard = System.nanoTime();
        lines.put(line);
      }
    } catch (IOException e) {
      System.err.println("harpy: reading the worker's stdout: " + e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    lines.offer(END);
  }

  /** One line without its end; null at the end of the stream. Overlong lines are cut, not stored. */
  private static String readLine(InputStream in) throws IOException {
    ByteArrayOutputStream line = new ByteArrayOutputStream(128);
    int c;
    while ((c = in.read()) >= 0 && c != '\n') {
      if (line.size() < LONGEST_LINE) {
        line.write(c);
      }
    }
    return c < 0 && line.size() == 0
        ? null
        : new String(line.toByteArray(), StandardCharsets.UTF_8);
  }
}
