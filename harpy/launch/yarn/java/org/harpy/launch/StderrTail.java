package org.harpy.launch;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;

/** The end of the container's stderr file, where the worker's own messages are. */
final class StderrTail {
  private static final int BYTES = 8192;

  private StderrTail() {}

  static String read() {
    String folder = System.getProperty("yarn.app.container.log.dir");
    if (folder == null) {
      return "";
    }
    try (RandomAccessFile file = new RandomAccessFile(folder + "/stderr", "r")) {
      file.seek(Math.max(0, file.length() - BYTES));
      byte[] bytes = new byte[(int) Math.min(BYTES, file.length() - file.getFilePointer())];
      file.readFully(bytes);
      return new String(bytes, StandardCharsets.UTF_8);
    } catch (IOException e) {
      return "(the container's stderr could not be read: " + e.getMessage() + ")";
    }
  }
}
