// What the kernels' threads promise their bodies, for sanitizers, too.
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <thread>
#include <vector>

#include "threads/parallel.h"

using namespace harpy::kmeans;

namespace {

std::atomic<int> failures{0};

void expect(bool holds, const char* what) {
    if (!holds) {
        std::fprintf(stderr, "does not hold: %s\n", what);
        ++failures;
    }
}

// Now late, now early, so that bodies run on the team and on the caller.
void dawdle(int turns) {
    for (int i = 0; i < turns; ++i) std::this_thread::yield();
}

// Plain ints: a body whose writes its caller could miss is a race.
void every_body_runs_once_and_is_seen(int n_calls) {
    for (int call = 0; call < n_calls; ++call) {
        const int n_thread = 1 + call % 9;
        std::vector<int> runs(n_thread);
        run_on_threads(n_thread, [&](int thread) {
            dawdle((call + thread) % 5);
            ++runs[thread];
        });
        expect(runs == std::vector<int>(n_thread, 1), "every body runs once");
    }
}

void bodies_run_at_the_same_time() {
    std::atomic<bool> begun{false};
    run_on_threads(2, [&](int thread) {
        if (thread == 1) begun = true;
        // More than the interface promises; would never end if the caller did all the work.
        while (!begun) std::this_thread::yield();
    });
}

void calls_from_within_run_on_their_thread() {
    run_on_threads(3, [&](int) {
        const auto here = std::this_thread::get_id();
        std::vector<int> runs(4);
        run_on_threads(4, [&](int thread) {
            expect(std::this_thread::get_id() == here, "a call from within stays on its thread");
            ++runs[thread];
        });
        expect(runs == std::vector<int>(4, 1), "every body of a call from within runs once");
    });
}

void callers_do_not_wait_for_each_other() {
    std::atomic<int> n_inside{0};
    const auto call = [&] {
        run_on_threads(3, [&](int thread) {
            if (thread != 0) return;
            ++n_inside;
            while (n_inside < 3) std::this_thread::yield();
        });
    };
    std::thread second(call), third(call);
    call();
    second.join();
    third.join();
}

void callers_at_once(int n_calls) {
    std::vector<std::thread> callers;
    for (int i = 0; i < 3; ++i) callers.emplace_back(every_body_runs_once_and_is_seen, n_calls);
    for (std::thread& caller : callers) caller.join();
}

void rows_belong_to_one_thread_each() {
    for (const std::int64_t n_rows : {0, 1, 63, 64, 65, 1000, 4096, 100'003}) {
        for (const int asked : {1, 2, 3, 7, 64}) {
            const int n_thread = useful_threads(n_rows, kBlockRows, asked);
            std::int64_t next = 0, most = 0, least = n_rows;
            for (int thread = 0; thread < n_thread; ++thread) {
                const RowRange own = own_rows(n_rows, n_thread, thread);
                expect(own.begin == next && own.end >= own.begin, "ranges follow each other");
                expect(own.begin % 64 == 0, "ranges begin at cache lines");
                most = std::max(most, own.end - own.begin);
                least = std::min(least, own.end - own.begin);
                next = own.end;
            }
            expect(next == n_rows, "ranges cover all rows");
            expect(most - least <= 2 * 64, "ranges are about as long");

            std::vector<int> seen(n_rows);
            for_row_blocks(
                n_rows, 100, n_thread, [&](int thread, std::int64_t begin, std::int64_t end) {
                    const RowRange own = own_rows(n_rows, n_thread, thread);
                    expect(
                        own.begin <= begin && begin < end && end <= own.end && end - begin <= 100,
                        "blocks are of the thread's own rows");
                    for (std::int64_t i = begin; i < end; ++i) ++seen[i];
                });
            expect(seen == std::vector<int>(n_rows, 1), "every row is in one block");
        }
    }
}

}  // namespace

int main() {
    every_body_runs_once_and_is_seen(3000);
    bodies_run_at_the_same_time();
    calls_from_within_run_on_their_thread();
    callers_do_not_wait_for_each_other();
    callers_at_once(1000);
    rows_belong_to_one_thread_each();
    return failures == 0 ? 0 : 1;
}
