// Threads that outlive a call: who runs the parts of a kernel, and how they wait for each other.
#pragma once

#include <cstddef>

#include "float_environment.h"

namespace harpy::kmeans {

// What each thread writes of its own begins here (`alignas`), or it shares a line with a neighbour.
constexpr std::size_t kCacheLine = 64;
// More threads than this is a slip of the caller.
constexpr int kMaxThreads = 1024;

// Calls work(body, thread) once for each thread of [0, n_thread) and returns when all have
// returned; thread 0 is the caller. From call to call the same `thread` is the same system thread,
// unless callers overlap: each then has a team of its own.
//
// Where there are fewer system threads than asked for, each takes several in turn: work must not
// wait for another thread's. That is so when the system refuses a thread, and within run_on_threads
// itself, where the cores are at work already.
void run_on_team(int n_thread, void (*work)(const void* body, int thread) noexcept,
                 const void* body) noexcept;

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
