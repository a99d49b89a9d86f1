#include "estep.h"

#include "panel_estep.h"
#include "parallel.h"

namespace harpy::kmeans {

template <class T>
std::unique_ptr<EStep<T>> make_estep(const LaneKernels& lanes, Matrix<T> x, std::int64_t n_clusters,
                                     int n_thread, int bound_bytes) {
    n_thread = useful_threads(x.n_rows, kBlockRows, n_thread);
    return std::make_unique<PanelEStep<T>>(lanes, x, n_clusters, n_thread, bound_bytes);
}

template std::unique_ptr<EStep<float>> make_estep(const LaneKernels&, Matrix<float>, std::int64_t,
                                                  int, int);
template std::unique_ptr<EStep<double>> make_estep(const LaneKernels&, Matrix<double>, std::int64_t,
                                                   int, int);

}  // namespace harpy::kmeans
