#include "threads/threads.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace harpy::kmeans {

namespace {

using Clock = std::chrono::steady_clock;

// About what falling asleep and being woken costs: to wait longer awake would save nothing.
constexpr Clock::duration kLongestSpin = std::chrono::microseconds(100);

// Looks at a signal between two offers of the processor to whoever waits for it.
constexpr int kTurnsBetweenYields = 16;

void pause() noexcept {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("isb");
#endif
}

// One thread raises it, one waits for it; then it is as new.
class alignas(kCacheLine) Signal {
  public:
    // Calls before_waking() first where the waiting thread is asleep.
    template <class BeforeWaking>
    void raise(const BeforeWaking& before_waking) noexcept {
        if (state_.load() == kAsleep) before_waking();
        raised_at_.store(Clock::now());
        if (state_.exchange(kRaised) == kAsleep) {
            syscall(SYS_futex, &state_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
        }
    }

    // Takes back what was raised, unless the waiting thread has seen it already.
    bool withdraw() noexcept { return replace(kRaised, kQuiet); }

    void wait(bool may_spin) noexcept {
        while (!wait_for_next(may_spin)) {
        }
    }

  private:
    enum : std::uint32_t { kQuiet, kRaised, kAsleep };

    bool replace(std::uint32_t from, std::uint32_t to) noexcept {
        return state_.compare_exchange_strong(from, to);
    }

    // False where what was raised has been withdrawn.
    //
    // A wait is expected to be like the one before: awake at first if that was short. So nobody
    // spins who is kept waiting by a busy machine, by other work of the caller or by uneven work.
    bool wait_for_next(bool may_spin) noexcept {
        const Clock::time_point begun = Clock::now();
        if (may_spin && was_short_) {
            for (int turn = 1; state_.load() != kRaised && Clock::now() - begun < kLongestSpin;
                 ++turn) {
                // The thread it waits for may itself be waiting for this processor.
                turn % kTurnsBetweenYields == 0 ? static_cast<void>(sched_yield()) : pause();
            }
        }
        if (replace(kQuiet, kAsleep)) {
            while (state_.load() == kAsleep) {
                syscall(SYS_futex, &state_, FUTEX_WAIT_PRIVATE, kAsleep, nullptr, nullptr, 0);
            }
        }
        was_short_ = raised_at_.load() - begun < kLongestSpin;
        return replace(kRaised, kQuiet);
    }

    std::atomic<std::uint32_t> state_{kQuiet};
    std::atomic<Clock::time_point> raised_at_{};
    bool was_short_ = true;
};

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t), "a futex is the word");

struct Processors {
    cpu_set_t set[8];  // for 8192 of them
};

int count_allowed_cpus() noexcept {
    Processors cpus;
    return sched_getaffinity(0, sizeof cpus, cpus.set) == 0 ? CPU_COUNT_S(sizeof cpus, cpus.set)
                                                            : INT_MAX;
}

// Where a thread that waits may run.
class Place {
  public:
    explicit Place(pthread_t thread = {}) noexcept : thread_(thread) {}

    // Called by another thread while this one waits: it will run on another processor than that
    // one's, if it may. Schedulers that put it on the same (to save power, or because the rest of
    // the machine seemed busy) leave it there for milliseconds, idle or in its caller's way.
    void leave_mine() noexcept {
        if (!narrowed_ && pthread_getaffinity_np(thread_, sizeof all_, all_.set) != 0) return;
        const int mine = sched_getcpu();
        Processors others = all_;
        if (mine >= 0) CPU_CLR_S(mine, sizeof others, others.set);
        if (CPU_COUNT_S(sizeof others, others.set) == 0) return;
        narrowed_ |= pthread_setaffinity_np(thread_, sizeof others, others.set) == 0;
    }

    // Called by the thread itself, awake: it may run again wherever it might before.
    void widen() noexcept {
        if (narrowed_) pthread_setaffinity_np(thread_, sizeof all_, all_.set);
        narrowed_ = false;
    }

  private:
    pthread_t thread_;
    bool narrowed_ = false;
    Processors all_;
};

// True on a team's threads and, during a call, on its caller.
thread_local bool in_team = false;

// A caller's threads, which are never ended: they sleep until the process ends.
class Team {
  public:
    void run(int n_thread, Work work, const void* body) noexcept {
        grow(n_thread - 1);
        const int n_workers = std::min<int>(n_thread - 1, static_cast<int>(workers_.size()));
        const bool may_spin = n_workers < n_cpus_;
        call_ = {work, body, may_spin};
        n_unfinished_.store(n_thread);
        for (int i = 0; i < n_workers; ++i) {
            Worker& worker = *workers_[i];
            worker.was_asleep = false;
            worker.called.raise([&] {
                worker.was_asleep = true;
                if (may_spin) worker.place.leave_mine();
            });
        }
        work(body, 0);
        int n_finished = 1;
        // What nobody has begun by now is done here: a worker that was not given a processor
        // meanwhile may go without one for longer still.
        for (int thread = n_thread - 1; thread > 0; --thread) {
            if (thread <= n_workers) {
                Worker& worker = *workers_[thread - 1];
                if (!worker.called.withdraw()) continue;
                if (may_spin && !worker.was_asleep) worker.place.leave_mine();
            }
            work(body, thread);
            ++n_finished;
        }
        if (!is_last(n_finished)) finished_.wait(may_spin);
    }

    Team* next_idle = nullptr;

  private:
    struct Worker {
        Signal called;
        Place place;
        int thread;
        bool was_asleep;
    };

    void grow(int n_workers) noexcept {
        if (n_workers <= static_cast<int>(workers_.size())) return;
        n_cpus_ = count_allowed_cpus();
        // Signals are for the threads of the program, but a thread's own faults must be seen.
        sigset_t blocked, found;
        sigfillset(&blocked);
        for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP}) {
            sigdelset(&blocked, fault);
        }
        pthread_sigmask(SIG_SETMASK, &blocked, &found);
        try {
            workers_.reserve(n_workers);
            while (static_cast<int>(workers_.size()) < n_workers) {
                auto worker = std::make_unique<Worker>();
                worker->thread = static_cast<int>(workers_.size()) + 1;
                std::thread thread(&Team::serve, this, worker.get());
                char name[16];
                std::snprintf(name, sizeof name, "harpy-%d", worker->thread);
                pthread_setname_np(thread.native_handle(), name);
                worker->place = Place(thread.native_handle());
                if (n_workers < n_cpus_) worker->place.leave_mine();
                thread.detach();
                workers_.push_back(std::move(worker));
            }
        } catch (const std::exception&) {
            // No memory or no more threads allowed: those there are do the work.
        }
        pthread_sigmask(SIG_SETMASK, &found, nullptr);
    }

    void serve(Worker* worker) noexcept {
        in_team = true;
        for (bool may_spin = true;;) {
            worker->called.wait(may_spin);
            worker->place.widen();
            may_spin = call_.may_spin;
            call_.work(call_.body, worker->thread);
            if (is_last(1)) finished_.raise([] {});
        }
    }

    // Whether the n_finished threads were the last of the call.
    bool is_last(int n_finished) noexcept {
        return n_unfinished_.fetch_sub(n_finished) == n_finished;
    }

    struct Call {
        Work work;
        const void* body;
        bool may_spin;
    };

    std::vector<std::unique_ptr<Worker>> workers_;
    int n_cpus_ = 1;
    Call call_{};
    alignas(kCacheLine) std::atomic<int> n_unfinished_{0};
    Signal finished_;
};

// The teams nobody is using. They are kept, so that callers who come again find warm threads.
class IdleTeams {
  public:
    IdleTeams() noexcept;

    // Null where there is no memory for another team.
    Team* take() noexcept {
        const std::lock_guard<std::mutex> lock(mutex_);
        Team* const team = first_;
        if (team == nullptr) return fork_safe_ ? new (std::nothrow) Team : nullptr;
        first_ = team->next_idle;
        return team;
    }

    void put(Team* team) noexcept {
        const std::lock_guard<std::mutex> lock(mutex_);
        team->next_idle = first_;
        first_ = team;
    }

  private:
    std::mutex mutex_;
    Team* first_ = nullptr;
    bool fork_safe_;
    friend struct ForkHandlers;
};

static_assert(std::is_trivially_destructible_v<IdleTeams>,
              "a daemon thread may still be in a kernel while the process ends");

IdleTeams idle_teams;

// A child has its parent's teams without their threads, and forgets them. The lock makes the list
// whole at the fork; nobody waits long for it, because it is not held while a team works.
struct ForkHandlers {
    static void prepare() { idle_teams.mutex_.lock(); }
    static void in_parent() { idle_teams.mutex_.unlock(); }
    static void in_child() {
        idle_teams.first_ = nullptr;
        idle_teams.mutex_.unlock();
    }
};

IdleTeams::IdleTeams() noexcept
    : fork_safe_(pthread_atfork(ForkHandlers::prepare, ForkHandlers::in_parent,
                                ForkHandlers::in_child) == 0) {}

}  // namespace

void run_on_team(int n_thread, Work work, const void* body) noexcept {
    Team* const team = n_thread > 1 && !in_team ? idle_teams.take() : nullptr;
    if (team == nullptr) {
        for (int thread = 0; thread < n_thread; ++thread) work(body, thread);
    } else {
        in_team = true;
        team->run(n_thread, work, body);
        in_team = false;
        idle_teams.put(team);
    }
}

}  // namespace harpy::kmeans
