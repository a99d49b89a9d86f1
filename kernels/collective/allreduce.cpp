// Allreduce: recursive doubling for small payloads, reduce-scatter and allgather around a ring for
// large ones. Every element is combined in an order that depends on ranks alone, and every rank
// ends with the same bits.
#include <algorithm>
#include <memory>

#include "mesh.h"
#include "reduce.h"

namespace harpy::collective {

namespace {
// The ring receives and combines in pieces of so many bytes: scratch memory stays small, and the
// kernel's socket buffers move the next piece while this one is being added.
constexpr std::size_t kSegment = 1 << 18;

std::unique_ptr<char[]> scratch(std::size_t bytes) {
    return std::unique_ptr<char[]>(new char[std::max<std::size_t>(bytes, 1)]);
}
}  // namespace

void Mesh::allreduce(void* data, std::size_t count, DType dtype, Reduction reduction) {
    combine_for(dtype, reduction);  // refuses what it cannot do before anything is sent
    Running running(*this, {Operation::kAllreduce, dtype, reduction, 0, count});
    running([&] {
        if (count * size_of(dtype) <= tree_limit_) {
            allreduce_doubling(static_cast<char*>(data), count, dtype, reduction);
        } else {
            allreduce_ring(static_cast<char*>(data), count, dtype, reduction);
        }
    });
}

// The ranks from `power`, the largest power of two in the gang, on fold their payload into rank
// - power and wait. The others exchange with the rank that differs in one bit, bit after bit; the
// lower rank's value is always the left operand, so both partners compute the same bits.
void Mesh::allreduce_doubling(char* data, std::size_t count, DType dtype, Reduction reduction) {
    const std::size_t bytes = count * size_of(dtype);
    const Combine combine = combine_for(dtype, reduction);
    const auto received = scratch(bytes);
    int power = 1;
    while (power * 2 <= size_) power *= 2;
    if (rank_ >= power) {
        transfer({{rank_ - power, data, bytes}}, {});
        transfer({}, {{rank_ - power, data, bytes}});
        return;
    }
    const bool folds = rank_ + power < size_;
    if (folds) {
        transfer({}, {{rank_ + power, received.get(), bytes}});
        combine(data, data, received.get(), count);
    }
    for (int bit = 1; bit < power; bit *= 2) {
        const int partner = rank_ ^ bit;
        transfer({{partner, data, bytes}}, {{partner, received.get(), bytes}});
        if (partner < rank_) {
            combine(data, received.get(), data, count);
        } else {
            combine(data, data, received.get(), count);
        }
    }
    if (folds) transfer({{rank_ + power, data, bytes}}, {});
}

// Chunk c starts at rank c and travels up the ring, each rank adding its own part on the right;
// after size - 1 steps rank r holds chunk r + 1 complete. Then the complete chunks go around once.
void Mesh::allreduce_ring(char* data, std::size_t count, DType dtype, Reduction reduction) {
    const std::size_t width = size_of(dtype);
    const std::size_t segment = std::max<std::size_t>(kSegment / width, 1);
    const Combine combine = combine_for(dtype, reduction);
    const int next = (rank_ + 1) % size_;
    const int previous = (rank_ - 1 + size_) % size_;
    const auto received = scratch(std::min(segment, count) * width);

    for (int step = 0; step + 1 < size_; ++step) {
        Range give = share(count, (rank_ - step + size_) % size_, size_);
        Range take = share(count, (rank_ - step - 1 + 2 * size_) % size_, size_);
        while (give.length() > 0 || take.length() > 0) {
            const std::size_t n_give = std::min(segment, give.length());
            const std::size_t n_take = std::min(segment, take.length());
            std::vector<Outgoing> outgoing;
            std::vector<Incoming> incoming;
            if (n_give > 0) outgoing.push_back({next, data + give.begin * width, n_give * width});
            if (n_take > 0) incoming.push_back({previous, received.get(), n_take * width});
            transfer(outgoing, incoming);
            char* own = data + take.begin * width;
            combine(own, received.get(), own, n_take);
            give.begin += n_give;
            take.begin += n_take;
        }
    }

    std::vector<Incoming> chunks;  // chunks[r] is what rank r now holds complete
    for (int r = 0; r < size_; ++r) {
        const Range range = share(count, (r + 1) % size_, size_);
        chunks.push_back({r, data + range.begin * width, range.length() * width});
    }
    allgather_ring(chunks);
}

}  // namespace harpy::collective
