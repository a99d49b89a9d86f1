// Lloyd's iteration: nearest centers and the exact sums of their rows, kept from call to call.
#include <vector>

#include "estep.h"
#include "exact_sums.h"
#include "float_environment.h"
#include "kmeans.h"
#include "lane_kernels.h"
#include "parallel.h"
#include "weighted_row.h"

namespace harpy::kmeans {

// The sums follow the labels: rows that change sides are moved, all others left alone.
template <class T>
struct Lloyd<T>::State {
    State(const LaneKernels* lanes, Matrix<T> x, const T* weights, std::int64_t n_clusters,
          const std::int32_t* exponents, int n_thread, int bound_bytes)
        : estep(make_estep(*lanes, x, n_clusters, n_thread, bound_bytes)),
          sums(n_clusters, x.n_columns + (weights != nullptr), exponents),
          parts(estep->n_thread(), ExactSums::Part(sums)) {
        if (weights != nullptr) {
            weighted = std::make_unique<WeightedRows>(lanes, x, weights, estep->n_thread());
        }
    }

    // Rows with weights are moved in a pass of their own, after the labels are known.
    struct WeightedRows {
        WeightedRows(const LaneKernels* lanes, Matrix<T> x, const T* weights, int n_thread)
            : kernels(row_kernels<double>(*lanes).tiles),
              x(x),
              weights(weights),
              before(x.n_rows, -1),
              rows(n_thread, WeightedRow(x.n_columns + 1)) {}

        void move(const std::int32_t* labels, std::vector<ExactSums::Part>& parts) noexcept {
            const FloatEnvironment environment;
            for_row_blocks(x.n_rows, kBlockRows, static_cast<int>(rows.size()),
                           [&](int thread, std::int64_t begin, std::int64_t end) {
                               for (std::int64_t i = begin; i < end; ++i) {
                                   if (labels[i] == before[i]) continue;
                                   const double* row =
                                       rows[thread].of(x.data + i * x.n_columns, weights[i]);
                                   parts[thread].change(kernels, row, before[i], labels[i]);
                                   before[i] = labels[i];
                               }
                           });
        }

        const TileKernels<double>& kernels;
        Matrix<T> x;
        const T* weights;
        std::vector<std::int32_t> before;  // labels that the sums stand for
        std::vector<WeightedRow> rows;
    };

    std::unique_ptr<EStep<T>> estep;
    ExactSums sums;
    std::vector<ExactSums::Part> parts;
    std::unique_ptr<WeightedRows> weighted;
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
        State& state = *state_;
        const int n_thread = state.estep->n_thread();
        if (state.weighted == nullptr) {
            *n_changed = state.estep->assign(centers, offset, labels, &state.parts);
        } else {
            *n_changed = state.estep->assign(centers, offset, labels, nullptr);
            state.weighted->move(labels, state.parts);
        }
        state.sums.flush(state.parts, n_thread);
        state.sums.store(limbs, counts, n_thread);
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
