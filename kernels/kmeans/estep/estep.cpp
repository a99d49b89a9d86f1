#include "estep/estep.h"

#include "estep/few_estep.h"
#include "estep/neighbour_estep.h"
#include "estep/panel_estep.h"
#include "threads/parallel.h"

namespace harpy::kmeans {

namespace {

constexpr std::int64_t kShortRowBytes = 128;

}  // namespace

template <class T>
std::unique_ptr<EStep<T>> make_estep(const LaneKernels& lanes, Matrix<T> x, std::int64_t n_clusters,
                                     int n_thread, int bound_bytes) {
    n_thread = useful_threads(x.n_rows, kBlockRows, n_thread);
    // As many centers as one search holds in registers. Where rows are short and no bounds are
    // kept, blocks of rows take 0.2 to 0.9 times as long: there is less to do for each row.
    const auto row_bytes = x.n_columns * static_cast<std::int64_t>(sizeof(T));
    const bool short_search = bound_bytes < kLeastBoundBytes && row_bytes <= kShortRowBytes;
    if (n_clusters <= row_kernels<T>(lanes).tiles.most_few && !short_search) {
        return std::make_unique<FewEStep<T>>(lanes, x, n_clusters, n_thread, bound_bytes);
    }
    if (bound_bytes > 0 && x.n_columns <= kFewColumns) {
        return std::make_unique<NeighbourEStep<T>>(lanes, x, n_clusters, n_thread);
    }
    return std::make_unique<PanelEStep<T>>(lanes, x, n_clusters, n_thread, bound_bytes);
}

template std::unique_ptr<EStep<float>> make_estep(const LaneKernels&, Matrix<float>, std::int64_t,
                                                  int, int);
template std::unique_ptr<EStep<double>> make_estep(const LaneKernels&, Matrix<double>, std::int64_t,
                                                   int, int);

}  // namespace harpy::kmeans
