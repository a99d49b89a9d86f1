// Broadcast: a binomial tree for small payloads; for large ones the root deals out one share per
// rank and a ring passes the shares on, so that the root sends the payload about once, not
// log(size) times (van de Geijn).
#include "mesh.h"

namespace harpy::collective {

void Mesh::broadcast(void* data, std::size_t bytes, int root) {
    if (root < 0 || root >= size_) {
        throw CollectiveError(
            Failure::kMisuse, -1,
            "root must be a rank below " + std::to_string(size_) + ", got " + std::to_string(root));
    }
    Running running(*this, {Operation::kBroadcast, DType::kBytes, Reduction::kNone,
                            static_cast<std::uint32_t>(root), bytes});
    running([&] {
        if (bytes <= tree_limit_ || size_ <= 2) {
            broadcast_tree(static_cast<char*>(data), bytes, root);
        } else {
            broadcast_scatter(static_cast<char*>(data), bytes, root);
        }
    });
}

// Ranks are counted from the root: v receives from v without its lowest set bit.
void Mesh::broadcast_tree(char* data, std::size_t bytes, int root) {
    const int v = (rank_ - root + size_) % size_;
    int reach = 1;
    while (reach < size_ && (v & reach) == 0) reach *= 2;
    if (v != 0) transfer({}, {{(v - reach + root) % size_, data, bytes}});
    std::vector<Outgoing> children;
    for (int distance = reach / 2; distance > 0; distance /= 2) {
        if (v + distance < size_) {
            children.push_back({(v + distance + root) % size_, data, bytes});
        }
    }
    transfer(children, {});
}

void Mesh::broadcast_scatter(char* data, std::size_t bytes, int root) {
    std::vector<Outgoing> shares;
    std::vector<Incoming> blocks;
    for (int r = 0; r < size_; ++r) {
        const Range range = share(bytes, r, size_);
        blocks.push_back({r, data + range.begin, range.length()});
        if (rank_ == root && r != root) shares.push_back({r, data + range.begin, range.length()});
    }
    if (rank_ == root) {
        transfer(shares, {});
    } else {
        transfer({}, {{root, blocks[rank_].data, blocks[rank_].bytes}});
    }
    allgather_ring(blocks);
}

}  // namespace harpy::collective
