// Lloyd's iteration: nearest centers and the exact sums of their rows, kept from call to call.
#include <memory>

#include "estep.h"
#include "exact_sums.h"
#include "kmeans.h"
#include "lane_kernels.h"
#include "parallel.h"

namespace harpy::kmeans {

// The sums follow the labels: rows that change sides are moved, all others left alone.
template <class T>
struct Lloyd<T>::State {
    State(const LaneKernels* lanes, Matrix<T> x, const T* weights, std::int64_t n_clusters,
          const std::int32_t* exponents, int n_thread, int bound_bytes)
        : estep(make_estep(*lanes, x, n_clusters, n_thread, bound_bytes)),
          sums(*lanes, x, weights, n_clusters, exponents, estep->n_thread()) {}

    std::unique_ptr<EStep<T>> estep;
    RowSums<T> sums;
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
Status Lloyd<T>::step(const T* centers, const T* offset, std::int32_t* labels,
                      std::int64_t* n_changed, std::int64_t* limbs, std::int64_t* counts) noexcept {
    return guarded([&]() -> Status {
        *n_changed = state_->estep->assign(centers, offset, labels, &state_->sums);
        state_->sums.store(limbs, counts);
        return Status::ok;
    });
}

template <class T>
Status Lloyd<T>::label(const T* centers, const T* offset, std::int32_t* labels,
                       std::int64_t* n_changed) noexcept {
    return guarded([&]() -> Status {
        *n_changed = state_->estep->assign(centers, offset, labels, nullptr);
        return Status::ok;
    });
}

template class Lloyd<float>;
template class Lloyd<double>;

}  // namespace harpy::kmeans
