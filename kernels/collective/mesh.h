// Mesh: this rank's end of a gang, one connected socket to every other rank. Owns the sockets and
// the order of calls. The connections are authenticated when they come here.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "errors.h"
#include "frame.h"

namespace harpy::collective {

// Asked every time a wait has lasted a slice: nonzero ends the call (a Python signal handler
// raised).
using InterruptCheck = int (*)();

struct Outgoing {
    int peer;
    const void* data;
    std::size_t bytes;
};

struct Incoming {
    int peer;
    void* data;
    std::size_t bytes;
};

class Mesh {
  public:
    // `fds[r]` is the socket to rank r, -1 for this rank itself; the mesh closes them.
    // Payloads up to `tree_limit` bytes take the path of minimum latency, larger ones that of
    // minimum volume.
    Mesh(int rank, int size, const std::vector<int>& fds, std::uint32_t epoch, double timeout_s,
         std::size_t tree_limit, InterruptCheck interrupted);
    ~Mesh();
    Mesh(const Mesh&) = delete;
    Mesh& operator=(const Mesh&) = delete;

    // Every operation is called by all ranks in the same order. After an error of any kind the mesh
    // is broken and every later call fails with the same message.
    void barrier();
    void broadcast(void* data, std::size_t bytes, int root);
    void allgather(const std::vector<Incoming>& blocks);  // blocks[rank] holds this rank's own
    void allreduce(void* data, std::size_t count, DType dtype, Reduction reduction);

    // Ends a running call at once, from any thread, and all later ones.
    void abort(const std::string& reason);
    // Sends a farewell to the peers if all went well, then closes the sockets. May be repeated.
    void close();

    int rank() const { return rank_; }
    int size() const { return size_; }

  private:
    using Clock = std::chrono::steady_clock;
    class Running;
    struct Stream;

    // Moves all messages, in both directions at once, until done or the call's deadline.
    void transfer(const std::vector<Outgoing>& outgoing, const std::vector<Incoming>& incoming);
    bool advance_send(Stream& stream);
    bool advance_receive(Stream& stream);
    void check(const FrameHeader& header, const Stream& stream) const;
    void wait(const std::vector<Stream>& sends, const std::vector<Stream>& receives);
    FrameHeader header_for(std::size_t payload_bytes) const;
    [[noreturn]] void refused(const Stream& stream, int error) const;
    [[noreturn]] void peer_lost(int peer, const char* how) const;
    std::string here() const;
    void say_farewell();

    void broadcast_tree(char* data, std::size_t bytes, int root);
    void broadcast_scatter(char* data, std::size_t bytes, int root);
    void allgather_direct(const std::vector<Incoming>& blocks);
    void allgather_ring(const std::vector<Incoming>& blocks);
    void allreduce_doubling(char* data, std::size_t count, DType dtype, Reduction reduction);
    void allreduce_ring(char* data, std::size_t count, DType dtype, Reduction reduction);

    const int rank_;
    const int size_;
    std::vector<int> fds_;
    const std::uint32_t epoch_;
    const std::chrono::duration<double> timeout_;
    const std::size_t tree_limit_;
    const InterruptCheck interrupted_;

    std::mutex call_mutex_;         // held while a call runs
    mutable std::mutex fds_mutex_;  // guards fds_ against abort() from another thread, and broken_
    std::atomic<bool> aborted_{false};
    bool broken_ = false;
    bool closed_ = false;
    std::string broken_reason_;
    Failure broken_failure_ = Failure::kAborted;
    int broken_rank_ = -1;

    Call call_{};
    std::uint64_t sequence_ = 0;
    Clock::time_point deadline_{};
};

// One call: takes the mutex, numbers the call, starts its clock, and breaks the mesh if it throws.
class Mesh::Running {
  public:
    Running(Mesh& mesh, const Call& call);
    template <typename Body>
    void operator()(Body&& body);

  private:
    void mark_broken(const CollectiveError& error);
    Mesh& mesh_;
    std::unique_lock<std::mutex> lock_;
};

template <typename Body>
void Mesh::Running::operator()(Body&& body) {
    try {
        body();
    } catch (const CollectiveError& error) {
        mark_broken(error);
        throw;
    } catch (const std::exception& error) {
        mark_broken({Failure::kMisuse, -1, error.what()});
        throw;
    }
}

// Row range r of w over n things: [r*n/w, (r+1)*n/w).
struct Range {
    std::size_t begin;
    std::size_t end;
    std::size_t length() const { return end - begin; }
};
Range share(std::size_t n, int r, int w);

}  // namespace harpy::collective
