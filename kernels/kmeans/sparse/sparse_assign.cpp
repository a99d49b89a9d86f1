// The E-step of compressed sparse rows. Between two calls only centers that moved are looked at,
// unless a row's own center has moved away from it.
#include <algorithm>
#include <limits>
#include <vector>

#include "isa/lane_kernels.h"
#include "sparse/sparse.h"
#include "sparse/sparse_rows.h"
#include "threads/buffer.h"
#include "threads/parallel.h"

namespace harpy::kmeans {

namespace {

// Rows that go over one panel after the other: few enough to stay in the cache themselves, enough
// to meet the panel's frequent columns again.
constexpr std::int64_t kSearchRows = 512;
constexpr std::int64_t kPackColumns = 64;

// Some of the centers in panels (panel, column, lane), as few and as even as their width allows.
template <class T>
class Panels {
  public:
    // Throws std::bad_alloc.
    Panels(const SparseKernels<T>& kernels, const std::vector<std::int32_t>& chosen,
           Matrix<T> centers, const std::vector<T>& half_norms, int n_thread) {
        const auto n_chosen = static_cast<std::int64_t>(chosen.size());
        const std::int64_t vectors = count_blocks(n_chosen, kernels.lanes);
        n_panels_ = count_blocks(vectors, kSparseWidths);
        if (n_panels_ == 0) return;
        const std::int64_t width = count_blocks(vectors, n_panels_);
        search_ = kernels.search[width - 1];
        lanes_ = width * kernels.lanes;
        n_columns_ = centers.n_columns;
        indices_.assign(n_panels_ * lanes_, std::numeric_limits<std::int32_t>::max());
        half_norms_.assign(n_panels_ * lanes_, std::numeric_limits<T>::infinity());
        std::copy(chosen.begin(), chosen.end(), indices_.begin());
        for (std::int64_t i = 0; i < n_chosen; ++i) half_norms_[i] = half_norms[chosen[i]];
        values_ = Buffer<T>(n_panels_ * n_columns_ * lanes_);
        for_row_blocks(n_columns_, kPackColumns, useful_threads(n_columns_, kPackColumns, n_thread),
                       [&](int, std::int64_t begin, std::int64_t end) {
                           for (std::int64_t p = 0; p < n_panels_; ++p) {
                               pack(centers, p, begin, end);
                           }
                       });
    }

    void search(const SparseSearch<T>& rows) const noexcept {
        for (std::int64_t p = 0; p < n_panels_; ++p) {
            search_(rows, values_.data() + p * n_columns_ * lanes_, half_norms_.data() + p * lanes_,
                    indices_.data() + p * lanes_);
        }
    }

  private:
    void pack(Matrix<T> centers, std::int64_t p, std::int64_t begin, std::int64_t end) noexcept {
        T* panel = values_.data() + p * n_columns_ * lanes_;
        for (std::int64_t l = 0; l < lanes_; ++l) {
            const std::int32_t center = indices_[p * lanes_ + l];
            if (center == std::numeric_limits<std::int32_t>::max()) {
                for (std::int64_t j = begin; j < end; ++j) panel[j * lanes_ + l] = T{0};
                continue;
            }
            const T* values = centers.data + center * n_columns_;
            for (std::int64_t j = begin; j < end; ++j) panel[j * lanes_ + l] = values[j];
        }
    }

    std::int64_t n_panels_ = 0, lanes_ = 0, n_columns_ = 0;
    SearchPanel<T> search_ = nullptr;
    std::vector<std::int32_t> indices_;
    std::vector<T> half_norms_;
    Buffer<T> values_;
};

// The nearest center of each row of a block so far: lowest score, then lowest index.
template <class T>
struct Nearest {
    T score[kSearchRows];
    std::int32_t label[kSearchRows];

    void search(const Panels<T>& panels, CsrMatrix<T> x, const std::int64_t* rows,
                std::int64_t n_rows) noexcept {
        std::fill(score, score + n_rows, std::numeric_limits<T>::infinity());
        std::fill(label, label + n_rows, std::numeric_limits<std::int32_t>::max());
        panels.search({x, rows, n_rows, score, label});
    }
    bool before(std::int64_t i, T other_score, std::int32_t other_label) const noexcept {
        return score[i] < other_score || (score[i] == other_score && label[i] < other_label);
    }
};

// What one thread needs besides its rows.
template <class T>
struct SearchScratch {
    Nearest<T> near, rest;
    std::int64_t rows[kSearchRows], open[kSearchRows], at[kSearchRows];
    std::int64_t n_changed = 0;
};

template <class T>
struct Groups {
    Panels<T> moved, still;
    const std::uint8_t* has_moved;  // per center; nullptr: all have
};

// Centers that stood still score what they scored before: none of them beats the row's last best.
// So a row whose own center stood still compares that with the moved ones, and so does a row that
// finds something better still; only the others have to look at all.
template <class T>
void assign_block(const Groups<T>& groups, CsrMatrix<T> x, std::int64_t begin, std::int64_t end,
                  std::int32_t* labels, T* scores, SearchScratch<T>& scratch) noexcept {
    Nearest<T>& near = scratch.near;
    const std::int64_t n_rows = end - begin;
    for (std::int64_t i = 0; i < n_rows; ++i) scratch.rows[i] = begin + i;
    near.search(groups.moved, x, scratch.rows, n_rows);
    if (groups.has_moved != nullptr) {
        std::int64_t n_open = 0;
        for (std::int64_t i = 0; i < n_rows; ++i) {
            const std::int64_t row = begin + i;
            const std::int32_t label = labels[row];
            // Its own center scores the same again where it has come back to within a rounding.
            if (near.before(i, scores[row], label)) continue;
            if (!groups.has_moved[label]) {
                near.score[i] = scores[row];
                near.label[i] = label;
            } else if (near.score[i] != scores[row] || near.label[i] != label) {
                scratch.at[n_open] = i;
                scratch.open[n_open++] = row;
            }
        }
        scratch.rest.search(groups.still, x, scratch.open, n_open);
        for (std::int64_t i = 0; i < n_open; ++i) {
            const std::int64_t at = scratch.at[i];
            if (near.before(at, scratch.rest.score[i], scratch.rest.label[i])) continue;
            near.score[at] = scratch.rest.score[i];
            near.label[at] = scratch.rest.label[i];
        }
    }
    for (std::int64_t i = 0; i < n_rows; ++i) {
        const std::int64_t row = begin + i;
        scratch.n_changed += labels[row] != near.label[i];
        labels[row] = near.label[i];
        if (scores != nullptr) scores[row] = near.score[i];
    }
}

template <class T>
std::vector<T> half_norms_of(const SparseKernels<T>& kernels, Matrix<T> centers, int n_thread) {
    constexpr std::int64_t kGroup = 8;  // chains that squared_norms has side by side
    std::vector<double> norms(centers.n_rows);
    for_row_blocks(centers.n_rows, kGroup, useful_threads(centers.n_rows, kGroup, n_thread),
                   [&](int, std::int64_t begin, std::int64_t end) {
                       kernels.squared_norms(centers.data + begin * centers.n_columns, end - begin,
                                             centers.n_columns, norms.data() + begin);
                   });
    std::vector<T> half(centers.n_rows);
    const FloatEnvironment environment;
    for (std::int64_t c = 0; c < centers.n_rows; ++c) half[c] = static_cast<T>(0.5 * norms[c]);
    return half;
}

}  // namespace

template <class T>
Status sparse_assign(const LaneKernels* lanes, CsrMatrix<T> x, Matrix<T> centers,
                     const std::uint8_t* moved, int n_thread, std::int32_t* labels, T* scores,
                     std::int64_t* n_changed) noexcept {
    return guarded([&]() -> Status {
        const SparseKernels<T>& kernels = row_kernels<T>(*lanes).sparse;
        const std::int64_t widest = kSparseWidths * kernels.lanes;
        std::int64_t n_values;
        if (centers.n_rows > std::numeric_limits<std::int32_t>::max() - widest ||
            !checked_product(centers.n_rows + widest, centers.n_columns, &n_values)) {
            return Status::too_large;
        }
        std::vector<std::int32_t> moving, standing;
        for (std::int32_t c = 0; c < static_cast<std::int32_t>(centers.n_rows); ++c) {
            (moved == nullptr || moved[c] ? moving : standing).push_back(c);
        }
        *n_changed = 0;
        if (moving.empty()) return Status::ok;
        const std::vector<T> half_norms = half_norms_of(kernels, centers, n_thread);
        const Groups<T> groups{{kernels, moving, centers, half_norms, n_thread},
                               {kernels, standing, centers, half_norms, n_thread},
                               moved};
        const SparseShares shares(x, n_thread);
        std::vector<SearchScratch<T>> scratch(shares.n_thread());
        shares.for_blocks(kSearchRows, [&](int thread, std::int64_t begin, std::int64_t end) {
            assign_block(groups, x, begin, end, labels, scores, scratch[thread]);
        });
        for (const SearchScratch<T>& own : scratch) *n_changed += own.n_changed;
        return Status::ok;
    });
}

template Status sparse_assign<float>(const LaneKernels*, CsrMatrix<float>, Matrix<float>,
                                     const std::uint8_t*, int, std::int32_t*, float*,
                                     std::int64_t*) noexcept;
template Status sparse_assign<double>(const LaneKernels*, CsrMatrix<double>, Matrix<double>,
                                      const std::uint8_t*, int, std::int32_t*, double*,
                                      std::int64_t*) noexcept;

}  // namespace harpy::kmeans
