// The E-step for few centers: lanes run over rows, and one upper and one lower bound a row lets
// those that cannot have changed sides lie unread.
//
// G. Hamerly, "Making k-means even faster", SIAM International Conference on Data Mining, 2010.
#pragma once

#include <cstdint>
#include <vector>

#include "estep/estep.h"
#include "estep/margins.h"
#include "isa/lane_kernels.h"
#include "kmeans.h"
#include "sums/exact_sums.h"
#include "threads/buffer.h"

namespace harpy::kmeans {

template <class T>
class FewEStep final : public EStep<T> {
  public:
    FewEStep(const LaneKernels& lanes, Matrix<T> x, std::int64_t n_clusters, int n_thread,
             int bound_bytes);

    std::int64_t assign(const T* centers, const T* offset, std::int32_t* labels,
                        RowSums<T>* sums) override;

  private:
    using EStep<T>::n_thread_, EStep<T>::ranges_;

    void pack(const T* centers, const T* offset) noexcept;
    void start_bounds() noexcept;
    void add_moves(const T* centers) noexcept;
    void measure_gaps(const T* centers) noexcept;
    FewTest test() const noexcept;
    double share_in_doubt() const noexcept;
    std::int64_t search_all(int thread, std::int64_t begin, std::int64_t end) noexcept;
    std::int64_t search_in_doubt(int thread, std::int64_t begin, std::int64_t end) noexcept;
    std::int64_t search(int thread, const std::int64_t* rows, std::int64_t n) noexcept;
    T* highest(int thread) noexcept {
        return ranges_ == nullptr ? nullptr
                                  : highest_.data() + highest_.size() / n_thread_ * thread;
    }
    template <class RowOf>
    std::int64_t search(int thread, const T* const* x, std::int64_t n, RowOf row_of) noexcept;

    const LaneKernels& lanes_;
    const TileKernels<T>& kernels_;
    const Matrix<T> x_;
    const std::int64_t n_clusters_;
    const int size_;  // which search
    Buffer<T> centers_, half_norms_;
    std::vector<std::int32_t> indices_;
    std::vector<double> norms_;

    // Of the call in progress.
    FewSearch<T> search_;
    std::int32_t* labels_ = nullptr;
    RowSums<T>* sums_ = nullptr;
    Buffer<T> highest_;  // (n_thread, columns to a whole kFewRows), where ranges are wanted

    // Bounds hold for the centers of the last call while bounded_.
    bool bounded_ = false;
    Buffer<float> upper_, lower_;
    std::vector<T> previous_;
    std::vector<double> moves_, moved_sum_, others_moved_sum_;
    float moved_[kFewTable] = {}, others_moved_[kFewTable] = {}, half_gap_[kFewTable] = {};
    float radius_ = 0;
};

}  // namespace harpy::kmeans
