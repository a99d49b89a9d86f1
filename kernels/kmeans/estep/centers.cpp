#include "estep/centers.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "threads/parallel.h"

namespace harpy::kmeans {

namespace {

// Orders `indices` so that each half, quarter, … of the panels holds centers near to each other:
// halves along the line between two far ends, down to single panels.
template <class T>
class Neighbours {
  public:
    Neighbours(Matrix<T> centers, int lanes)
        : centers_(centers),
          lanes_(lanes),
          position_(centers.n_rows),
          direction_(centers.n_columns) {}

    void order(std::int32_t* begin, std::int32_t* end) {
        const std::int64_t n_panels = count_blocks(end - begin, lanes_);
        if (n_panels < 2) {
            std::sort(begin, end);
            return;
        }
        const std::int32_t* end_a = farthest(begin, end, row(*begin));
        const std::int32_t* end_b = farthest(begin, end, row(*end_a));
        const T *a = row(*end_a), *b = row(*end_b);
        for (std::int64_t j = 0; j < centers_.n_columns; ++j) {
            direction_[j] = static_cast<double>(b[j]) - static_cast<double>(a[j]);
        }
        for (const std::int32_t* c = begin; c != end; ++c) {
            position_[*c] = std::inner_product(direction_.begin(), direction_.end(), row(*c), 0.0);
        }
        std::int32_t* middle = begin + (n_panels + 1) / 2 * lanes_;
        std::nth_element(begin, middle, end, [&](std::int32_t a, std::int32_t b) {
            return position_[a] < position_[b] || (position_[a] == position_[b] && a < b);
        });
        order(begin, middle);
        order(middle, end);
    }

  private:
    const T* row(std::int32_t c) const { return centers_.data + c * centers_.n_columns; }

    const std::int32_t* farthest(const std::int32_t* begin, const std::int32_t* end,
                                 const T* from) const {
        const std::int32_t* found = begin;
        double most = -1.0;
        for (const std::int32_t* c = begin; c != end; ++c) {
            const T* to = row(*c);
            double squared = 0.0;
            for (std::int64_t j = 0; j < centers_.n_columns; ++j) {
                const double difference = static_cast<double>(to[j]) - static_cast<double>(from[j]);
                squared += difference * difference;
            }
            if (squared > most) {
                most = squared;
                found = c;
            }
        }
        return found;
    }

    Matrix<T> centers_;
    int lanes_;
    std::vector<double> position_, direction_;
};

}  // namespace

template <class T>
PackedCenters<T>::PackedCenters(std::int64_t n_clusters, std::int64_t n_columns, int lanes)
    : n_clusters(n_clusters),
      n_columns(n_columns),
      n_panels(count_blocks(n_clusters, lanes)),
      lanes(lanes),
      indices(n_panels * lanes),
      slots(n_clusters),
      panels(n_panels * n_columns * lanes),
      half_norms(n_panels * lanes),
      norms(n_clusters) {
    std::fill(panels.begin(), panels.end(), T{0});
    std::fill(half_norms.begin(), half_norms.end(), std::numeric_limits<T>::infinity());
    keep_order();
}

template <class T>
void PackedCenters<T>::keep_order() {
    std::fill(indices.begin(), indices.end(), INT32_MAX);
    std::iota(indices.begin(), indices.begin() + n_clusters, 0);
    std::iota(slots.begin(), slots.end(), 0);
}

template <class T>
void PackedCenters<T>::put_neighbours_together(Matrix<T> centers) {
    keep_order();
    Neighbours<T>(centers, lanes).order(indices.data(), indices.data() + n_clusters);
    for (std::int64_t slot = 0; slot < n_clusters; ++slot) {
        slots[indices[slot]] = static_cast<std::int32_t>(slot);
    }
}

template <class T>
void PackedCenters<T>::pack(const TileKernels<T>& kernels, Matrix<T> centers, const T* offset,
                            int n_thread) {
    for_row_blocks(n_panels, 1, useful_threads(n_panels, 1, n_thread),
                   [&](int, std::int64_t first, std::int64_t last) {
                       for (std::int64_t p = first; p < last; ++p) {
                           const std::int64_t slot = p * lanes;
                           const std::int64_t rest = n_clusters - slot;
                           kernels.pack_panel(centers.data, indices.data() + slot,
                                              static_cast<int>(std::min<std::int64_t>(lanes, rest)),
                                              lanes, n_columns, offset,
                                              panels.data() + slot * n_columns,
                                              half_norms.data() + slot, norms.data() + slot);
                       }
                   });
}

template struct PackedCenters<float>;
template struct PackedCenters<double>;

}  // namespace harpy::kmeans
