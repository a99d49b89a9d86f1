// Barrier by dissemination: after round k every rank has received, directly or not, from the
// 2^(k+1) ranks before it (Hensgen, Finkel and Manber 1988).
#include "mesh.h"

namespace harpy::collective {

void Mesh::barrier() {
    Running running(*this, {Operation::kBarrier});
    running([&] {
        for (int distance = 1; distance < size_; distance *= 2) {
            const int to = (rank_ + distance) % size_;
            const int from = (rank_ - distance + size_) % size_;
            transfer({{to, nullptr, 0}}, {{from, nullptr, 0}});
        }
    });
}

}  // namespace harpy::collective
