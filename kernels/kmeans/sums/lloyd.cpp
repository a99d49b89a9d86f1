// Lloyd's iteration: nearest centers and the exact sums of their rows, kept from call to call.
#include <memory>
#include <vector>

#include "estep/estep.h"
#include "isa/lane_kernels.h"
#include "kmeans.h"
#include "sums/exact_sums.h"
#include "threads/parallel.h"

namespace harpy::kmeans {

// The sums follow the labels: rows that change sides are moved, all others left alone.
template <class T>
struct Lloyd<T>::State {
    State(const LaneKernels* lanes, Matrix<T> x, const T* weights, std::int64_t n_clusters,
          const std::int32_t* exponents, int n_thread, int bound_bytes)
        : lanes(lanes),
          n_clusters(n_clusters),
          n_thread(n_thread),
          estep(make_estep(*lanes, x, n_clusters, n_thread, bound_bytes)),
          sums(*lanes, x, weights, n_clusters, exponents, estep->n_thread()),
          offset(x.n_columns) {}

    Status assign(const T* centers, std::int32_t* labels, RowSums<T>* followed,
                  std::int64_t* n_changed) {
        const Matrix<T> matrix{centers, n_clusters, static_cast<std::int64_t>(offset.size())};
        const Status status = center_offset(lanes, matrix, n_thread, offset.data());
        if (status != Status::ok) return status;
        *n_changed = estep->assign(centers, offset.data(), labels, followed);
        return Status::ok;
    }

    const LaneKernels* const lanes;
    const std::int64_t n_clusters;
    const int n_thread;
    std::unique_ptr<EStep<T>> estep;
    RowSums<T> sums;
    std::vector<T> offset;
};

template <class T>
Lloyd<T>::~Lloyd() {
    delete state_;
}

template <class T>
Status Lloyd<T>::start(const LaneKernels* lanes, Matrix<T> x, const T* weights,
                       std::int64_t n_clusters, const std::int32_t* exponents, int n_thread,
                       int bound_bytes) noexcept {
    return guarded([&]() -> Status {
        if (!sizes_fit(n_clusters, x.n_columns + 1)) return Status::too_large;
        state_ = new State(lanes, x, weights, n_clusters, exponents, n_thread, bound_bytes);
        return Status::ok;
    });
}

template <class T>
Status Lloyd<T>::step(const T* centers, std::int32_t* labels, std::int64_t* n_changed,
                      std::int64_t* limbs, std::int64_t* counts) noexcept {
    return guarded([&]() -> Status {
        const Status status = state_->assign(centers, labels, &state_->sums, n_changed);
        if (status == Status::ok) state_->sums.store(limbs, counts);
        return status;
    });
}

template <class T>
Status Lloyd<T>::label(const T* centers, std::int32_t* labels, std::int64_t* n_changed) noexcept {
    return guarded([&]() { return state_->assign(centers, labels, nullptr, n_changed); });
}

template class Lloyd<float>;
template class Lloyd<double>;

}  // namespace harpy::kmeans
