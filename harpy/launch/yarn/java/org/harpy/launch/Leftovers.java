package org.harpy.launch;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Processes that a worker forked and left in the container. The node manager kills a container's
 * process group only while the container runs: after a good end these would stay.
 */
final class Leftovers {
  private static final int ROUNDS = 5;
  private static final long PAUSE_MS = 50;

  /** One line of /proc/PID/stat. */
  private static final class Entry {
    final String state;
    final long parent;
    final long group;

    Entry(String stat) {
      // The name in parentheses may hold anything, also spaces and parentheses.
      String[] words = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
      state = words[0];
      parent = Long.parseLong(words[1]);
      group = Long.parseLong(words[2]);
    }
  }

  private Leftovers() {}

  /** Kills this process group except this JVM and its parents. */
  static void kill() {
    try {
      for (int round = 0; round < ROUNDS; round++) {
        List<String> pids = find();
        if (pids.isEmpty()) {
          return;
        }
        new ProcessBuilder("sh", "-c", "kill -9 " + String.join(" ", pids)).start().waitFor();
        Thread.sleep(PAUSE_MS);
      }
    } catch (IOException e) {
      System.err.println("harpy: looking for what the worker left behind: " + e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static List<String> find() throws IOException {
    Map<Long, Entry> all = processes();
    // The link names this process, whichever thread reads it.
    long self = Long.parseLong(Files.readSymbolicLink(Paths.get("/proc/self")).toString());
    Set<Long> above = new HashSet<>();
    for (long pid = self; all.containsKey(pid) && above.add(pid); ) {
      pid = all.get(pid).parent;
    }
    List<String> found = new ArrayList<>();
    for (Map.Entry<Long, Entry> process : all.entrySet()) {
      Entry entry = process.getValue();
      boolean ours = all.containsKey(self) && entry.group == all.get(self).group;
      if (ours && !above.contains(process.getKey()) && !entry.state.equals("Z")) {
        found.add(process.getKey().toString());
      }
    }
    return found;
  }

  private static Map<Long, Entry> processes() throws IOException {
    Map<Long, Entry> all = new HashMap<>();
    String[] names = new File("/proc").list((folder, name) -> name.matches("\\d+"));
    for (String name : names == null ? new String[0] : names) {
      try {
        byte[] stat = Files.readAllBytes(Paths.get("/proc", name, "stat"));
        all.put(Long.parseLong(name), new Entry(new String(stat, StandardCharsets.ISO_8859_1)));
      } catch (NoSuchFileException e) {
        continue; // it has ended meanwhile
      } catch (IOException e) {
        if (Files.exists(Paths.get("/proc", name))) {
          throw e;
        }
      }
    }
    return all;
  }
}
