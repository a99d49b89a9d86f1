// Threads that outlive a call: who runs the parts of a kernel, and how they wait for each other.
#pragma once

#include <cstddef>

#include "threads/float_environment.h"

namespace harpy::kmeans {

// What each thread writes of its own begins here (`alignas`), or it shares a line with a neighbour.
constexpr std::size_t kCacheLine = 64;
// More threads than this is a slip of the caller.
constexpr int kMaxThreads = 1024;

using Work = void (*)(const void* body, int thread) noexcept;

// Calls work(body, thread) once for each thread of [0, n_thread) and returns when all have
// returned; thread 0 is the caller. From call to call the same `thread` is the same system thread
// wherever that is awake in time, and calls that overlap have different ones.
//
// The caller also does what no other thread has begun when it is ready itself, and everything where
// it is called from within: work must not wait for another thread's.
void run_on_team(int n_thread, Work work, const void* body) noexcept;

// The same for body(thread), in the kernels' floating-point environment. `body` must not throw:
// allocate before.
template <class Body>
void run_on_threads(int n_thread, const Body& body) noexcept {
    const auto work = [](const void* given, int thread) noexcept {
        const FloatEnvironment environment;
        (*static_cast<const Body*>(given))(thread);
    };
    run_on_team(n_thread, work, &body);
}

}  // namespace harpy::kmeans
