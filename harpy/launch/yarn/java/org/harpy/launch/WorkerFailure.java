package org.harpy.launch;

import java.io.IOException;

/**
 * Why a worker's attempt failed, as one line that MapReduce carries in the attempt's diagnostics to
 * the driver: {@code harpy-failure } and a JSON object, read by harpy/launch/yarn/diagnostics.py.
 */
final class WorkerFailure extends IOException {
  private static final long serialVersionUID = 1L;

  /** MapReduce cuts the text of a failure at 65535 / 3 characters; cut JSON cannot be read. */
  static final int LONGEST = 21000;

  private WorkerFailure(String message) {
    super(message);
  }

  /** The exception to throw; if it is final, MapReduce makes no other attempt. */
  static IOException of(Json facts, boolean isFinal) {
    String message = "harpy-failure " + facts;
    if (isFinal) {
      try {
        return new FinalFailure(message);
      } catch (LinkageError e) {
        System.err.println("harpy: this Hadoop cannot end a job at once: " + e);
      }
    }
    return new WorkerFailure(message);
  }
}
