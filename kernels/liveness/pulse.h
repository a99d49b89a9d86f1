// Heartbeats from a native thread. A process that computes, or holds Python's interpreter lock,
// still sends them; one that is stopped, or whose host is gone, does not.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <thread>

namespace harpy::liveness {

class Pulse {
  public:
    explicit Pulse(double interval_s);
    ~Pulse();
    Pulse(const Pulse&) = delete;
    Pulse& operator=(const Pulse&) = delete;

    // Send heartbeats to the launcher: a line on `out` for each. When `in` ends, or nobody reads
    // `out`, the process ends with all that it started.
    void attach_launcher(int in, int out);
    // While `value` is true no heartbeat line is written: another writer is in the middle of a
    // long line.
    void pause_lines(bool value);

    // Exchange heartbeats over a connected socket, which this object owns from now on. Returns the
    // peer's number.
    int add(int socket);
    void remove(int number);
    // Seconds between the peer's last byte and this thread's last poll. Time for which this process
    // itself was stopped does not count. 0 for an unknown number.
    double silent_for(int number);
    // Whether SIGTERM ended the peer's process, which its handler reports before the process ends.
    bool was_terminated(int number);
    // From now on report it to all peers when SIGTERM ends this process. At most one Pulse of a
    // process may do so.
    void report_termination();
    // End the peer's process at once, whatever it is doing.
    void end_peer(int number);

  private:
    using Clock = std::chrono::steady_clock;
    struct Peer {
        int socket;
        Clock::time_point heard_at;
        bool open;
        bool terminated = false;
    };

    void run();
    void receive(int timeout_ms);
    void receive_from(Peer& peer);
    void beat();
    void wake();

    const std::chrono::duration<double> interval_;
    const pid_t owner_;
    std::mutex mutex_;  // guards all members below
    std::map<int, Peer> peers_;
    int next_number_ = 1;
    int launcher_in_ = -1, launcher_out_ = -1;
    bool lines_paused_ = false;
    Clock::time_point received_at_;
    std::atomic<bool> stop_{false};
    int wake_in_ = -1, wake_out_ = -1;
    std::thread thread_;
};

}  // namespace harpy::liveness
