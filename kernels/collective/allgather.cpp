// Allgather of blocks whose lengths every rank knows already: directly when the whole is small (one
// round trip), around a ring when it is large (no rank is sent to by all others at once).
#include "mesh.h"

namespace harpy::collective {

void Mesh::allgather(const std::vector<Incoming>& blocks) {
    if (blocks.size() != static_cast<std::size_t>(size_)) {
        throw CollectiveError(Failure::kMisuse, -1, "allgather needs one block for every rank");
    }
    std::size_t total = 0;
    for (const Incoming& block : blocks) total += block.bytes;
    Running running(*this, {Operation::kAllgather, DType::kBytes, Reduction::kNone, 0, 0});
    running([&] {
        if (total <= tree_limit_) {
            allgather_direct(blocks);
        } else {
            allgather_ring(blocks);
        }
    });
}

void Mesh::allgather_direct(const std::vector<Incoming>& blocks) {
    std::vector<Outgoing> outgoing;
    std::vector<Incoming> incoming;
    for (int r = 0; r < size_; ++r) {
        if (r == rank_) continue;
        outgoing.push_back({r, blocks[rank_].data, blocks[rank_].bytes});
        incoming.push_back(blocks[r]);
    }
    transfer(outgoing, incoming);
}

// In step s every rank passes on the block that it got in step s - 1, beginning with its own.
void Mesh::allgather_ring(const std::vector<Incoming>& blocks) {
    const int next = (rank_ + 1) % size_;
    const int previous = (rank_ - 1 + size_) % size_;
    for (int step = 0; step + 1 < size_; ++step) {
        const Incoming& give = blocks[(rank_ - step + size_) % size_];
        const Incoming& take = blocks[(rank_ - step - 1 + 2 * size_) % size_];
        transfer({{next, give.data, give.bytes}}, {{previous, take.data, take.bytes}});
    }
}

}  // namespace harpy::collective
