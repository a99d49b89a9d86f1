package org.harpy.launch;

import java.io.IOException;

/**
 * Why a worker's attempt failed, as one line that MapReduce carries in the attempt's diagnostics to
 * the driver: {@code harpy-failure } and a JSON object, read by harpy/launch/diagnostics.py.
 */
final class WorkerFailure extends IOException {
  private static final long serialVersionUID = 1L;

  /** MapReduce cuts the text of a failure at 65535 / 3 characters; cut JSON says nothing. */
  static final int LONGEST = 21000;

  WorkerFailure(Json facts) {
    super("harpy-failure " + facts);
  }
}
