// What this machine can do at best, measured: fused multiply-adds in registers and reads of memory.
//   machine_speed THREADS...    prints one JSON object: GFLOP/s and GB/s by number of threads

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <class T>
struct Vector {
    typedef T type __attribute__((vector_size(kVectorBytes)));
};

// Results go here, so that no loop is dead code.
static volatile double sink;

// The best of `repeats`: seconds until all threads have run `work(thread)`.
static double seconds(int threads, int repeats, const std::function<void(int)>& work) {
    double best = 1e30;
    for (int repeat = 0; repeat < repeats; ++repeat) {
        const auto started = std::chrono::steady_clock::now();
        std::vector<std::thread> team;
        for (int thread = 0; thread < threads; ++thread) team.emplace_back(work, thread);
        for (auto& member : team) member.join();
        const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - started;
        if (passed.count() < best) best = passed.count();
    }
    return best;
}

// Twelve independent chains hide the latency of two pipes of four to six cycles, and with the two
// constants fit sixteen registers.
#define CHAINS(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11)
constexpr int kChains = 12;

template <class T>
static void multiply_add(long rounds, T factor, T summand) {
    using V = typename Vector<T>::type;
    const V x = V{} + factor, y = V{} + summand;
#define START(i) V chain##i = x + T(i);
    CHAINS(START)
    for (long round = 0; round < rounds; ++round) {
#define STEP(i) chain##i = chain##i * x + y;
        CHAINS(STEP)
    }
    V total{};
#define ADD(i) total += chain##i;
    CHAINS(ADD)
    sink = total[0];
}

template <class T>
static double gigaflops(int threads, T factor, T summand) {
    const long rounds = 32'000'000;  // some 50 ms: threads have spread over the cores
    const double flops = 2.0 * kChains * (kVectorBytes / sizeof(T)) * rounds * threads;
    const auto work = [=](int) { multiply_add<T>(rounds, factor, summand); };
    return flops / seconds(threads, 10, work) / 1e9;
}

static double gigabytes(int threads, const std::vector<float>& memory) {
    using V = Vector<float>::type;
    const V* vectors = reinterpret_cast<const V*>(memory.data());
    const size_t share = memory.size() * sizeof(float) / sizeof(V) / threads / 8 * 8;
    const auto work = [=](int thread) {
        V sums[8] = {};
        const V* mine = vectors + thread * share;
        for (size_t i = 0; i < share; i += 8)
            for (int j = 0; j < 8; ++j) sums[j] += mine[i + j];
        for (const V& sum : sums) sink = sum[0];
    };
    return share * threads * sizeof(V) / seconds(threads, 8, work) / 1e9;
}

int main(int argc, char** argv) {
    // Unknown to the compiler, which could otherwise compute the chains beforehand.
    const double factor = argc > 100 ? 0.5 : 0.999, summand = argc > 100 ? 0.5 : 1e-3;
    const std::vector<float> memory(size_t{1} << 28, 1.0f);  // 1 GiB: no cache holds it
    const char* separator = "{";
    for (int i = 1; i < argc; ++i, separator = ", ") {
        const int threads = std::atoi(argv[i]);
        std::printf("%s\"%d\": {\"float32\": %.2f, \"float64\": %.2f, \"read\": %.2f}", separator,
                    threads, gigaflops<float>(threads, factor, summand),
                    gigaflops<double>(threads, factor, summand), gigabytes(threads, memory));
    }
    std::printf("}\n");
}
