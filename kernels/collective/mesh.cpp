// Life of a mesh: making, the bracket around each call, abort, farewell, close.
#include "mesh.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace harpy::collective {

Range share(std::size_t n, int r, int w) {
    // n * 64 ranks stays far below 2^64 for anything that fits in memory.
    return {n * static_cast<std::size_t>(r) / static_cast<std::size_t>(w),
            n * (static_cast<std::size_t>(r) + 1) / static_cast<std::size_t>(w)};
}

static void prepare_socket(int fd) {
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        throw CollectiveError(Failure::kMisuse, -1,
                              std::string("not a usable socket: ") + std::strerror(errno));
    }
    const int on = 1;
    // Fails on the socket pairs of tests, which have no such option.
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

Mesh::Mesh(int rank, int size, const std::vector<int>& fds, std::uint32_t epoch, double timeout_s,
           std::size_t tree_limit, InterruptCheck interrupted)
    : rank_(rank),
      size_(size),
      fds_(fds),
      epoch_(epoch),
      timeout_(timeout_s),
      tree_limit_(tree_limit),
      interrupted_(interrupted) {
    if (size < 1 || rank < 0 || rank >= size || fds.size() != static_cast<std::size_t>(size)) {
        throw CollectiveError(Failure::kMisuse, -1, "a mesh needs one socket for every rank");
    }
    for (int peer = 0; peer < size; ++peer) {
        if (peer != rank) prepare_socket(fds_[peer]);
    }
}

Mesh::~Mesh() { close(); }

void Mesh::abort(const std::string& reason) {
    const std::lock_guard<std::mutex> guard(fds_mutex_);
    if (!broken_) {
        broken_ = true;
        broken_reason_ = reason;
        broken_failure_ = Failure::kAborted;
    }
    aborted_.store(true);
    for (const int fd : fds_) {
        if (fd >= 0) shutdown(fd, SHUT_RDWR);  // wakes a poll() on it here and at the peer
    }
}

void Mesh::close() {
    // A call that still runs in another thread is ended first: its descriptors must not be reused.
    std::unique_lock<std::mutex> call(call_mutex_, std::try_to_lock);
    if (!call.owns_lock()) {
        abort("the communicator was closed");
        call.lock();
    }
    const std::lock_guard<std::mutex> guard(fds_mutex_);
    if (closed_) return;
    if (!broken_) say_farewell();
    closed_ = true;
    for (int& fd : fds_) {
        if (fd >= 0) ::close(fd);
        fd = -1;
    }
}

void Mesh::say_farewell() {
    call_ = {Operation::kFarewell};
    const FrameHeader header = header_for(0);
    for (const int fd : fds_) {
        // Best effort: a peer that is gone, or too far behind to read it, sees the end of file.
        if (fd >= 0) (void)!send(fd, &header, sizeof header, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

FrameHeader Mesh::header_for(std::size_t payload_bytes) const {
    return {kMagic, call_.operation, call_.dtype, call_.reduction, kVersion,
            epoch_, call_.root,      sequence_,   call_.count,     payload_bytes};
}

std::string Mesh::here() const {
    return "rank " + std::to_string(rank_) + ", " + describe(call_, sequence_);
}

Mesh::Running::Running(Mesh& mesh, const Call& call)
    : mesh_(mesh), lock_(mesh.call_mutex_, std::try_to_lock) {
    if (!lock_.owns_lock()) {
        throw CollectiveError(Failure::kMisuse, -1,
                              "another thread of rank " + std::to_string(mesh.rank_) +
                                  " is in a collective: a communicator serves one call at a time");
    }
    const std::lock_guard<std::mutex> guard(mesh.fds_mutex_);
    if (mesh.broken_) {
        throw CollectiveError(mesh.broken_failure_, mesh.broken_rank_, mesh.broken_reason_);
    }
    if (mesh.closed_) throw CollectiveError(Failure::kMisuse, -1, "the communicator is closed");
    mesh.call_ = call;
    ++mesh.sequence_;
    mesh.deadline_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(mesh.timeout_);
}

void Mesh::Running::mark_broken(const CollectiveError& error) {
    const std::lock_guard<std::mutex> guard(mesh_.fds_mutex_);
    if (mesh_.broken_) return;
    mesh_.broken_ = true;
    mesh_.broken_reason_ = error.what();
    mesh_.broken_failure_ = error.failure;
    mesh_.broken_rank_ = error.rank;
    // Peers must not wait for a rank whose call has failed.
    for (const int fd : mesh_.fds_) {
        if (fd >= 0) shutdown(fd, SHUT_RDWR);
    }
}

}  // namespace harpy::collective
