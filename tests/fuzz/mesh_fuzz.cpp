// libFuzzer's target for the frames between ranks: rank 0 of 2 makes calls while its peer sends
// what the fuzzer likes. Any frame may be refused; none may touch memory that is not its own.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "mesh.h"

using namespace harpy::collective;

namespace {

constexpr std::uint32_t kEpoch = 7;
constexpr double kTimeout = 5.0;  // never reached: the peer has hung up

// Which calls rank 0 makes, and on how much; the rest of the input is what the peer says.
struct Plan {
    std::uint8_t calls[3];
    std::uint8_t dtype;
    std::uint16_t count;
    std::uint8_t tree_limit;
    std::uint8_t well_formed;  // as many of the peer's frames begin with a right header
};

std::size_t append(std::vector<std::uint8_t>& said, const FrameHeader& header,
                   const std::uint8_t* data, std::size_t size) {
    const std::size_t taken = size < header.payload_bytes ? size : header.payload_bytes;
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(&header);
    said.insert(said.end(), bytes, bytes + sizeof header);
    said.insert(said.end(), data, data + taken);
    said.insert(said.end(), header.payload_bytes - taken, 0);
    return taken;
}

Call call_for(const Plan& plan, int i, std::size_t count) {
    const auto dtype = static_cast<DType>(1 + plan.dtype % 4);
    switch (plan.calls[i] % 4) {
        case 0:
            return {Operation::kBarrier};
        case 1:
            return {Operation::kBroadcast, DType::kBytes, Reduction::kNone, 1, count};
        case 2:
            return {Operation::kAllgather};
        default:
            return {Operation::kAllreduce, dtype, Reduction::kSum, 0, count};
    }
}

std::vector<std::uint8_t> speech(const Plan& plan, const std::uint8_t* data, std::size_t size) {
    std::vector<std::uint8_t> said;
    for (int i = 0; i < plan.well_formed % 4 && i < 3; ++i) {
        const Call call = call_for(plan, i, plan.count % 512);
        const std::size_t bytes = call.operation == Operation::kAllgather
                                      ? plan.count % 512
                                      : call.count * size_of(call.dtype);
        const FrameHeader header{
            kMagic,     call.operation, call.dtype, call.reduction,
            kVersion,   kEpoch,         call.root,  static_cast<std::uint64_t>(i + 1),
            call.count, bytes};
        const std::size_t taken = append(said, header, data, size);
        data += taken;
        size -= taken;
    }
    said.insert(said.end(), data, data + size);
    return said;
}

void make_call(Mesh& mesh, const Call& call, std::size_t count) {
    switch (call.operation) {
        case Operation::kBarrier:
            mesh.barrier();
            return;
        case Operation::kBroadcast: {
            std::vector<std::uint8_t> data(count);
            mesh.broadcast(data.data(), data.size(), 1);
            return;
        }
        case Operation::kAllgather: {
            std::vector<std::uint8_t> mine(count), theirs(count);
            mesh.allgather({{0, mine.data(), count}, {1, theirs.data(), count}});
            return;
        }
        default: {
            std::vector<std::uint8_t> data(count * size_of(call.dtype));
            mesh.allreduce(data.data(), count, call.dtype, call.reduction);
        }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Plan plan{};
    if (size < sizeof plan) return 0;
    std::memcpy(&plan, data, sizeof plan);
    const std::vector<std::uint8_t> said = speech(plan, data + sizeof plan, size - sizeof plan);
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) std::abort();
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    // What exceeds the socket's buffer is lost: a peer that hangs up in the middle of a frame.
    if (!said.empty()) (void)!send(ends[1], said.data(), said.size(), MSG_NOSIGNAL);
    shutdown(ends[1], SHUT_WR);
    try {
        Mesh mesh(0, 2, {-1, ends[0]}, kEpoch, kTimeout, plan.tree_limit, nullptr);
        for (int i = 0; i < 3; ++i) {
            const std::size_t count = plan.count % 512;
            make_call(mesh, call_for(plan, i, count), count);
        }
    } catch (const CollectiveError&) {
    }
    close(ends[1]);
    return 0;
}
