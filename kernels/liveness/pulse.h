// Signs of life from a thread of its own: a process that computes, or holds Python's interpreter
// lock, still beats; one that is stopped, or whose host is gone, does not.
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

    // Beat towards whoever started this process: a line on `out`. The end of `in`, or nobody
    // reading `out`, ends the process with all it started.
    void tie(int in, int out);
    // No line is written while `value`: a long one of somebody else's is under way.
    void hush(bool value);

    // Beat on a connected socket, ours from now on, and listen to the other end; its number.
    int add(int socket);
    void remove(int number);
    // Seconds for which the other end has said nothing, as far as this thread has looked: time for
    // which this process was stopped itself does not count. 0 for an unknown number.
    double silent_for(int number);
    // Whether the other end was told to end from outside (SIGTERM), and said so before it did.
    bool was_terminated(int number);
    // From now on say so to all peers when SIGTERM ends this process. One Pulse of a process may.
    void bid_farewell();
    // Have the other end's process end at once, whatever it does.
    void order_end(int number);

  private:
    using Clock = std::chrono::steady_clock;
    struct Peer {
        int socket;
        Clock::time_point heard_at;
        bool open;
        bool terminated = false;
    };

    void run();
    void look(int timeout_ms);
    void listen(Peer& peer);
    void beat();
    void wake();

    const std::chrono::duration<double> interval_;
    const pid_t owner_;
    std::mutex mutex_;  // of all below
    std::map<int, Peer> peers_;
    int next_number_ = 1;
    int launcher_in_ = -1, launcher_out_ = -1;
    bool hushed_ = false;
    Clock::time_point looked_at_;
    std::atomic<bool> stop_{false};
    int wake_in_ = -1, wake_out_ = -1;
    std::thread thread_;
};

}  // namespace harpy::liveness
