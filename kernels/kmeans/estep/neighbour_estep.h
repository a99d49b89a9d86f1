// The E-step for few columns. Rows are compared with all centers, or where these are many walk from
// their old center to nearer ones, along lists of each center's neighbours that end where geometry
// says that nothing nearer can follow.
#pragma once

#include <cstdint>
#include <vector>

#include "estep/estep.h"
#include "isa/lane_kernels.h"
#include "kmeans.h"
#include "sums/exact_sums.h"
#include "threads/buffer.h"

namespace harpy::kmeans {

template <class T>
class NeighbourEStep final : public EStep<T> {
  public:
    NeighbourEStep(const LaneKernels& lanes, Matrix<T> x, std::int64_t n_clusters, int n_thread);
    ~NeighbourEStep() override;

    std::int64_t assign(const T* centers, const T* offset, std::int32_t* labels,
                        RowSums<T>* sums) override;

  private:
    using EStep<T>::n_thread_;
    struct Batch;  // one thread's rows on their way through a search
    struct Ranked;
    struct Neighbour;

    void pack(const T* centers);
    void add_moves(const T* centers);
    void update_lists();
    void rank_neighbours(std::int64_t center, Ranked& ranked) noexcept;
    void fill_chunks(std::int64_t center) noexcept;
    double shrunk(std::int64_t center) const noexcept;
    T limit(double gap, double norm) const noexcept;
    void search(Batch& batch, std::int64_t begin, std::int64_t end) noexcept;
    void walk(Batch& batch, const T* x, const std::int32_t* labels, std::int64_t n) noexcept;

    const TileKernels<T>& kernels_;
    const Matrix<T> x_;
    const std::int64_t n_clusters_;
    std::int64_t n_chunks_;  // of a list; 0 where walking does not pay
    Buffer<T> centers_;      // (n_clusters, 1 + n_columns): half norms, columns less the offset
    Buffer<T> starts_;       // the same of a few centers, for rows without a label
    std::vector<std::int32_t> start_centers_;
    Buffer<T> columns_;  // (n_columns, n_clusters)
    Buffer<T> shifted_;  // (1 + n_columns, n_clusters + 1): half norms, columns less the offset;
                         // the last center is infinitely far
    // Lists as a Walk reads them.
    Buffer<T> chunks_, limits_;
    Buffer<std::int32_t> members_;
    Buffer<double> gaps_;          // (n_chunks, n_clusters) to the nearest center not yet listed
    Buffer<double> moved_before_;  // (n_clusters) moves, as of when a list was made
    Buffer<T> reach_;              // (n_clusters) squared gap to the first center beyond the list
    std::vector<Batch> batches_;
    std::vector<T> previous_;
    std::vector<double> moved_;  // (n_clusters) summed over the calls
    double largest_moves_ = 0;
    Buffer<std::int32_t> indices_;  // 0, 1, …
    Buffer<double> norms_;          // (n_clusters) squared, less the offset
    bool labelled_ = false, walks_ = false;

    // Of the call in progress.
    const T* offset_ = nullptr;
    std::int32_t* labels_ = nullptr;
    RowSums<T>* sums_ = nullptr;
};

}  // namespace harpy::kmeans
