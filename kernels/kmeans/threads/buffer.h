// Uninitialised, aligned memory: whoever writes it first decides on which node it lies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace harpy::kmeans {

template <class T>
class Buffer {
  public:
    Buffer() = default;
    // Throws std::bad_alloc.
    explicit Buffer(std::int64_t n) : data_(allocate(n)), size_(n) {}

    T* data() noexcept { return data_.get(); }
    const T* data() const noexcept { return data_.get(); }
    std::int64_t size() const noexcept { return size_; }
    T* begin() noexcept { return data(); }
    T* end() noexcept { return data() + size_; }
    T& operator[](std::int64_t i) noexcept { return data_.get()[i]; }
    const T& operator[](std::int64_t i) const noexcept { return data_.get()[i]; }

  private:
    static constexpr std::align_val_t kAlignment{64};
    struct Free {
        void operator()(T* data) const noexcept { ::operator delete(data, kAlignment); }
    };
    static T* allocate(std::int64_t n) {
        return static_cast<T*>(::operator new(static_cast<std::size_t>(n) * sizeof(T), kAlignment));
    }

    std::unique_ptr<T, Free> data_;
    std::int64_t size_ = 0;
};

}  // namespace harpy::kmeans
