// What travels between two ranks: one fixed header before every payload, and the call it must
// match. Leaves sockets to transport.cpp and algorithms to the file of each operation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace harpy::collective {

enum class Operation : std::uint8_t {
    kBarrier = 1,
    kBroadcast = 2,
    kAllgather = 3,
    kAllreduce = 4,
    kFarewell = 5,  // an orderly end: no more calls will come from this rank
};

enum class DType : std::uint8_t { kBytes = 0, kInt32 = 1, kInt64 = 2, kFloat32 = 3, kFloat64 = 4 };

enum class Reduction : std::uint8_t { kNone = 0, kSum = 1, kMax = 2, kMin = 3 };

// What all ranks must agree on, call by call. `count` is in elements of `dtype`; 0 where blocks may
// differ between ranks (allgather).
struct Call {
    Operation operation;
    DType dtype = DType::kBytes;
    Reduction reduction = Reduction::kNone;
    std::uint32_t root = 0;
    std::uint64_t count = 0;
};

// Sent as it lies in memory: all workers of a gang run the same interpreter on one architecture; a
// peer of another byte order fails the check of `magic`.
struct FrameHeader {
    std::uint32_t magic;
    Operation operation;
    DType dtype;
    Reduction reduction;
    std::uint8_t version;
    std::uint32_t epoch;
    std::uint32_t root;
    std::uint64_t sequence;
    std::uint64_t count;
    std::uint64_t payload_bytes;
};
static_assert(sizeof(FrameHeader) == 40, "the header has no padding");

constexpr std::uint32_t kMagic = 0x43505248;  // "HRPC" on a little-endian wire
constexpr std::uint8_t kVersion = 1;

std::size_t size_of(DType dtype);
std::string describe(const Call& call, std::uint64_t sequence);
Call call_of(const FrameHeader& header);

}  // namespace harpy::collective
