#include "pulse.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <vector>

namespace harpy::liveness {

namespace {
constexpr char kBeat = 'b';
constexpr char kEnd = 'e';
constexpr char kTerminated = 't';
constexpr char kLine[] = "heartbeat\n";  // the launcher's protocol, docs/architecture.md
constexpr int kEcho = 75;                // exit code of a worker that follows others

// A local worker leads a process group, and takes along what its program forked; in a container the
// node manager does that.
[[noreturn]] void end_process() {
    if (getpgrp() == getpid()) kill(0, SIGKILL);
    _exit(kEcho);
}

// A failure to send means nothing: the peer's last byte may still be unread, and receive_from()
// finds out whether it is gone.
void send_byte(char word, int socket) { send(socket, &word, 1, MSG_DONTWAIT | MSG_NOSIGNAL); }

// The sockets on which the signal handler, which may not take a lock, reports the termination.
constexpr std::size_t kMaxTerminationSockets = 64;
std::atomic<int> termination_sockets[kMaxTerminationSockets];
std::atomic<pid_t> termination_owner{0};

void on_terminated(int number) {
    if (getpid() == termination_owner) {  // a forked process also has these sockets
        for (const auto& socket : termination_sockets) {
            if (socket >= 0) send_byte(kTerminated, socket);
        }
    }
    signal(number, SIG_DFL);
    raise(number);
}

void replace_termination_socket(int before, int after) {
    for (auto& socket : termination_sockets) {
        int expected = before;
        if (socket.compare_exchange_strong(expected, after)) return;
    }
}
}  // namespace

Pulse::Pulse(double interval_s)
    : interval_(interval_s), owner_(getpid()), received_at_(Clock::now()) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        throw std::system_error(errno, std::generic_category(), "pipe");
    }
    wake_in_ = ends[0];
    wake_out_ = ends[1];
    // Signals are for Python's main thread.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    try {
        thread_ = std::thread(&Pulse::run, this);
    } catch (...) {
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
        close(wake_in_);
        close(wake_out_);
        throw;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Pulse::~Pulse() {
    if (getpid() != owner_) {
        thread_.detach();  // a fork has a copy of this object, but not the thread
        return;
    }
    stop_ = true;
    wake();
    thread_.join();
    for (auto& [number, peer] : peers_) close(peer.socket);
    close(wake_in_);
    close(wake_out_);
}

void Pulse::attach_launcher(int in, int out) {
    const std::lock_guard<std::mutex> lock(mutex_);
    launcher_in_ = in;
    launcher_out_ = out;
    wake();
}

void Pulse::pause_lines(bool value) {
    const std::lock_guard<std::mutex> lock(mutex_);
    lines_paused_ = value;
}

int Pulse::add(int socket) {
    const std::lock_guard<std::mutex> lock(mutex_);
    peers_[next_number_] = {socket, Clock::now(), true};
    if (termination_owner == owner_) replace_termination_socket(-1, socket);
    wake();
    return next_number_++;
}

void Pulse::remove(int number) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = peers_.find(number);
    if (found == peers_.end()) return;
    replace_termination_socket(found->second.socket, -1);
    close(found->second.socket);
    peers_.erase(found);
}

double Pulse::silent_for(int number) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = peers_.find(number);
    if (found == peers_.end()) return 0.0;
    const std::chrono::duration<double> silent = received_at_ - found->second.heard_at;
    return std::max(0.0, silent.count());
}

void Pulse::end_peer(int number) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = peers_.find(number);
    if (found == peers_.end()) return;
    // Best effort: a peer that cannot be reached is fenced by its attempt's number.
    send_byte(kEnd, found->second.socket);
}

bool Pulse::was_terminated(int number) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = peers_.find(number);
    if (found == peers_.end()) return false;
    if (found->second.open) receive_from(found->second);  // its last byte may just have arrived
    return found->second.terminated;
}

void Pulse::report_termination() {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto& socket : termination_sockets) socket = -1;
    for (const auto& [number, peer] : peers_) replace_termination_socket(-1, peer.socket);
    termination_owner = owner_;
    struct sigaction action{};
    action.sa_handler = on_terminated;
    sigaction(SIGTERM, &action, nullptr);
}

void Pulse::wake() {
    const char any = 0;
    if (write(wake_out_, &any, 1) != 1) return;  // the pipe is full: the thread wakes anyway
}

void Pulse::run() {
    Clock::time_point beat_at = Clock::now();
    while (!stop_) {
        const Clock::time_point now = Clock::now();
        if (now >= beat_at) {
            beat();
            beat_at = now + std::chrono::duration_cast<Clock::duration>(interval_);
        }
        const std::chrono::duration<double, std::milli> left = beat_at - Clock::now();
        receive(std::max(1, static_cast<int>(left.count()) + 1));
    }
}

// Wait until the launcher or a peer sends something, and process it.
void Pulse::receive(int timeout_ms) {
    std::vector<pollfd> watched{{wake_in_, POLLIN, 0}};
    std::vector<int> numbers;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        watched.push_back({launcher_in_, POLLIN, 0});  // poll() skips -1
        for (const auto& [number, peer] : peers_) {
            if (!peer.open) continue;
            watched.push_back({peer.socket, POLLIN, 0});
            numbers.push_back(number);
        }
    }
    const int ready = poll(watched.data(), watched.size(), timeout_ms);
    const std::lock_guard<std::mutex> lock(mutex_);
    if (ready > 0) {
        char drained[64];
        if (watched[0].revents) {
            while (read(wake_in_, drained, sizeof drained) > 0) continue;
        }
        if (watched[1].revents && read(launcher_in_, drained, sizeof drained) <= 0) end_process();
        for (std::size_t i = 0; i < numbers.size(); ++i) {
            if (!watched[i + 2].revents) continue;
            const auto found = peers_.find(numbers[i]);  // it may have been removed meanwhile
            if (found != peers_.end()) receive_from(found->second);
        }
    }
    received_at_ = Clock::now();
}

void Pulse::receive_from(Peer& peer) {
    char heard[256];
    const ssize_t n = recv(peer.socket, heard, sizeof heard, MSG_DONTWAIT);
    if (n > 0) {
        peer.heard_at = Clock::now();
        if (std::find(heard, heard + n, kEnd) != heard + n) end_process();
        peer.terminated |= std::find(heard, heard + n, kTerminated) != heard + n;
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        peer.open = false;  // closed: from now on it counts as silent
    }
}

void Pulse::beat() {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto& [number, peer] : peers_) {
        if (peer.open) send_byte(kBeat, peer.socket);
    }
    if (launcher_out_ < 0 || lines_paused_) return;
    pollfd room{launcher_out_, POLLOUT, 0};
    if (poll(&room, 1, 0) <= 0) return;  // do not wait for a launcher that does not read
    if ((room.revents & POLLERR) ||
        (write(launcher_out_, kLine, sizeof kLine - 1) < 0 && errno == EPIPE)) {
        end_process();
    }
}

}  // namespace harpy::liveness
