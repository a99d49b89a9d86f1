package org.harpy.launch;

import java.io.PrintStream;

/** Events for the driver: one JSON object per line on the descriptor that was stdout. */
final class Events {
  private final PrintStream out;

  Events(PrintStream out) {
    this.out = out;
  }

  synchronized void send(String event, Json facts) {
    out.print("{\"event\":\"" + event + "\",\"facts\":" + facts + "}\n");
    out.flush();
  }

  /** An error with Hadoop's own message, without class names, stack and links. */
  void error(String kind, Throwable thrown) {
    Throwable cause = thrown;
    for (int depth = 0; cause.getCause() != null && depth < 20; depth++) {
      cause = cause.getCause();
    }
    String message = words(thrown);
    send(
        "error",
        new Json()
            .put("kind", kind)
            .put("message", message.isEmpty() ? words(cause) : message)
            .put("class", thrown.getClass().getName())
            .put("cause", cause.getClass().getName()));
  }

  private static String words(Throwable thrown) {
    String message = thrown.getMessage() == null ? "" : thrown.getMessage().trim();
    return message
        .split("\n\\s*at ", 2)[0]
        .split("; +For more details see", 2)[0]
        .replaceAll("(?:[a-z]+\\.)+[A-Z][A-Za-z]*(?:Exception|Error): ", "");
  }
}
