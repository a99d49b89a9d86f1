// Moving frames: non-blocking sends and receives to several ranks at once under one deadline.
// Checks every header; maps socket errors to CollectiveError.
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "mesh.h"

namespace harpy::collective {

namespace {
// How long one poll() may last before signals and the abort flag are checked again.
constexpr std::chrono::milliseconds kSlice{200};

std::string seconds(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%g", value);
    return text;
}
}  // namespace

// One message on its way: the header, then the payload.
struct Mesh::Stream {
    int peer;
    char* data;
    std::size_t bytes;
    FrameHeader header{};
    std::size_t moved = 0;  // of header and payload together
    bool checked = false;

    std::size_t total() const { return sizeof header + bytes; }
    bool done() const { return moved == total(); }

    // What is still to move, as at most two pieces.
    int pieces(iovec* parts) {
        int n = 0;
        if (moved < sizeof header) {
            parts[n++] = {reinterpret_cast<char*>(&header) + moved, sizeof header - moved};
        }
        const std::size_t payload_moved = moved > sizeof header ? moved - sizeof header : 0;
        if (payload_moved < bytes) parts[n++] = {data + payload_moved, bytes - payload_moved};
        return n;
    }
};

void Mesh::transfer(const std::vector<Outgoing>& outgoing, const std::vector<Incoming>& incoming) {
    std::vector<Stream> sends, receives;
    sends.reserve(outgoing.size());
    receives.reserve(incoming.size());
    for (const Outgoing& message : outgoing) {
        sends.push_back({message.peer, static_cast<char*>(const_cast<void*>(message.data)),
                         message.bytes, header_for(message.bytes)});
    }
    for (const Incoming& message : incoming) {
        receives.push_back({message.peer, static_cast<char*>(message.data), message.bytes});
    }
    while (true) {
        bool pending = false;
        for (Stream& stream : sends) pending |= !stream.done() && !advance_send(stream);
        for (Stream& stream : receives) pending |= !stream.done() && !advance_receive(stream);
        if (!pending) return;
        wait(sends, receives);
    }
}

bool Mesh::advance_send(Stream& stream) {
    while (!stream.done()) {
        iovec parts[2];
        msghdr message{};
        message.msg_iov = parts;
        message.msg_iovlen = static_cast<std::size_t>(stream.pieces(parts));
        const ssize_t n = sendmsg(fds_[stream.peer], &message, MSG_NOSIGNAL);
        if (n >= 0) {
            stream.moved += static_cast<std::size_t>(n);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return false;
        } else if (errno != EINTR) {
            refused(stream, errno);
        }
    }
    return true;
}

// A peer that reads nothing more may have sent the reason before it closed.
void Mesh::refused(const Stream& stream, int error) const {
    FrameHeader last;
    const ssize_t n =
        recv(fds_[stream.peer], &last, sizeof last, MSG_PEEK | MSG_DONTWAIT | MSG_WAITALL);
    if (n == static_cast<ssize_t>(sizeof last) && last.operation == Operation::kFarewell) {
        check(last, stream);
    }
    peer_lost(stream.peer, std::strerror(error));
}

bool Mesh::advance_receive(Stream& stream) {
    while (!stream.done()) {
        iovec parts[2];
        msghdr message{};
        message.msg_iov = parts;
        message.msg_iovlen = static_cast<std::size_t>(stream.pieces(parts));
        // A message gets no buffer for its payload before its header is checked.
        if (!stream.checked) message.msg_iovlen = 1;
        const ssize_t n = recvmsg(fds_[stream.peer], &message, 0);
        if (n == 0) peer_lost(stream.peer, "it closed the connection");
        if (n < 0) {
            if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
            if (errno == EINTR) continue;
            peer_lost(stream.peer, std::strerror(errno));
        }
        stream.moved += static_cast<std::size_t>(n);
        if (!stream.checked && stream.moved >= sizeof stream.header) {
            check(stream.header, stream);
            stream.checked = true;
        }
    }
    return true;
}

void Mesh::check(const FrameHeader& header, const Stream& stream) const {
    const std::string from = "rank " + std::to_string(stream.peer);
    if (header.magic != kMagic || header.version != kVersion) {
        throw CollectiveError(Failure::kProtocol, stream.peer,
                              here() + ": " + from + " sent something that is not a frame");
    }
    if (header.operation == Operation::kFarewell) {
        throw CollectiveError(
            Failure::kProtocol, stream.peer,
            here() + ": " + from + " ended its program after " + std::to_string(header.sequence) +
                " collective calls; every rank must make the same calls in the same order");
    }
    const Call theirs = call_of(header);
    const bool same = header.epoch == epoch_ && header.sequence == sequence_ &&
                      theirs.operation == call_.operation && theirs.dtype == call_.dtype &&
                      theirs.reduction == call_.reduction && theirs.root == call_.root &&
                      theirs.count == call_.count && header.payload_bytes == stream.bytes;
    if (same) return;
    std::string got = describe(theirs, header.sequence);
    if (header.epoch != epoch_) {
        got += " of epoch " + std::to_string(header.epoch) + ", not " + std::to_string(epoch_);
    } else if (theirs.count == call_.count && header.payload_bytes != stream.bytes) {
        got += " with a block of " + std::to_string(header.payload_bytes) + " bytes instead of " +
               std::to_string(stream.bytes);
    }
    throw CollectiveError(Failure::kProtocol, stream.peer,
                          here() + ": " + from + " is in " + got +
                              "; every rank must make the same calls in the same order, with the "
                              "same shapes and dtypes");
}

void Mesh::peer_lost(int peer, const char* how) const {
    if (aborted_.load()) {
        const std::lock_guard<std::mutex> guard(fds_mutex_);
        throw CollectiveError(Failure::kAborted, broken_rank_, here() + ": " + broken_reason_);
    }
    throw CollectiveError(Failure::kPeerLost, peer,
                          here() + ": lost rank " + std::to_string(peer) + ": " + how);
}

// Sleeps until some pending message can move.
void Mesh::wait(const std::vector<Stream>& sends, const std::vector<Stream>& receives) {
    std::vector<pollfd> polls;
    polls.reserve(sends.size() + receives.size());
    int waited_for = -1;
    for (const Stream& stream : receives) {
        if (stream.done()) continue;
        polls.push_back({fds_[stream.peer], POLLIN, 0});
        if (waited_for < 0) waited_for = stream.peer;
    }
    for (const Stream& stream : sends) {
        if (stream.done()) continue;
        polls.push_back({fds_[stream.peer], POLLOUT, 0});
        if (waited_for < 0) waited_for = stream.peer;
    }
    while (true) {
        if (aborted_.load()) peer_lost(waited_for, "aborted");
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - Clock::now());
        if (left.count() <= 0) {
            throw CollectiveError(Failure::kTimeout, waited_for,
                                  here() + ": waited " + seconds(timeout_.count()) +
                                      " s for rank " + std::to_string(waited_for));
        }
        const auto slice = std::min(left + std::chrono::milliseconds(1), kSlice);
        const int ready = poll(polls.data(), polls.size(), static_cast<int>(slice.count()));
        if (ready > 0) return;
        if (ready < 0 && errno != EINTR) {
            throw CollectiveError(Failure::kMisuse, -1,
                                  here() + ": poll failed: " + std::strerror(errno));
        }
        if (interrupted_ != nullptr && interrupted_() != 0) {
            throw CollectiveError(Failure::kInterrupted, -1, here() + ": interrupted");
        }
    }
}

}  // namespace harpy::collective
