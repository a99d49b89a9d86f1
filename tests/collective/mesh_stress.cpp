// Every operation of a mesh on threads of one process, for sanitizers: worlds 1 to 6 on both paths,
// then ranks that abort, close and call different operations while others wait.
#include <sys/socket.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <thread>
#include <vector>

#include "mesh.h"

using namespace harpy::collective;

namespace {

int failures = 0;

void expect(bool holds, const char* what) {
    if (!holds) {
        std::fprintf(stderr, "does not hold: %s\n", what);
        ++failures;
    }
}

using World = std::vector<std::unique_ptr<Mesh>>;

World make_world(int size, std::size_t tree_limit, double timeout_s = 20.0) {
    std::vector<std::vector<int>> fds(size, std::vector<int>(size, -1));
    for (int high = 0; high < size; ++high) {
        for (int low = 0; low < high; ++low) {
            int pair[2];
            if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) std::abort();
            fds[high][low] = pair[0];
            fds[low][high] = pair[1];
        }
    }
    World world;
    for (int r = 0; r < size; ++r) {
        world.push_back(std::make_unique<Mesh>(r, size, fds[r], 1, timeout_s, tree_limit, nullptr));
    }
    return world;
}

template <typename Program>
void on_all(World& world, Program program) {
    std::vector<std::thread> threads;
    for (int r = 0; r < static_cast<int>(world.size()); ++r) {
        threads.emplace_back([&, r] { program(r, *world[r]); });
    }
    for (std::thread& thread : threads) thread.join();
}

void all_operations(int size, std::size_t tree_limit, std::size_t count) {
    World world = make_world(size, tree_limit);
    std::vector<int> good(size, 0);
    on_all(world, [&](int rank, Mesh& mesh) {
        std::vector<std::int64_t> sum(count, rank + 1);
        mesh.allreduce(sum.data(), count, DType::kInt64, Reduction::kSum);
        std::vector<float> most(count, static_cast<float>(rank));
        mesh.allreduce(most.data(), count, DType::kFloat32, Reduction::kMax);
        std::vector<char> text(count, rank == size - 1 ? 'x' : '-');
        mesh.broadcast(text.data(), count, size - 1);
        std::vector<std::vector<char>> parts(size);
        std::vector<Incoming> blocks;
        for (int r = 0; r < size; ++r) {
            parts[r].assign(count * static_cast<std::size_t>(r) / 2, r == rank ? 'a' + rank : '?');
            blocks.push_back({r, parts[r].data(), parts[r].size()});
        }
        mesh.allgather(blocks);
        mesh.barrier();
        bool all = true;
        for (const std::int64_t value : sum) all &= value == size * (size + 1) / 2;
        for (const float value : most) all &= value == static_cast<float>(size - 1);
        for (const char value : text) all &= value == 'x';
        for (int r = 0; r < size; ++r) {
            for (const char value : parts[r]) all &= value == 'a' + r;
        }
        good[rank] = all;
        mesh.close();
    });
    for (const int rank_good : good) expect(rank_good, "results of all operations");
}

template <typename Body>
bool fails(Failure* failure, Body body) {
    try {
        body();
    } catch (const CollectiveError& error) {
        *failure = error.failure;
        return true;
    }
    return false;
}

void aborted_while_waiting() {
    World world = make_world(3, 65536);
    on_all(world, [&](int rank, Mesh& mesh) {
        if (rank == 0) {
            mesh.abort("rank 0 gives up");
            return;
        }
        Failure failure;
        expect(fails(&failure, [&] { mesh.barrier(); }), "a barrier without rank 0 fails");
        expect(failure == Failure::kPeerLost, "and says that a peer is lost");
    });
}

void closed_by_another_thread() {
    World world = make_world(2, 65536);
    std::thread closer([&] { world[0]->close(); });
    Failure failure;
    expect(fails(&failure, [&] { world[0]->barrier(); }), "a closed mesh ends its call");
    closer.join();
}

void different_calls() {
    World world = make_world(2, 65536);
    on_all(world, [&](int rank, Mesh& mesh) {
        double value = 0;
        Failure failure;
        expect(fails(&failure,
                     [&] {
                         if (rank == 0) {
                             mesh.barrier();
                         } else {
                             mesh.allreduce(&value, 1, DType::kFloat64, Reduction::kSum);
                         }
                     }),
               "different calls fail");
    });
}

void nobody_comes() {
    World world = make_world(2, 65536, 0.1);
    Failure failure;
    expect(fails(&failure, [&] { world[1]->barrier(); }), "a barrier alone fails");
    expect(failure == Failure::kTimeout, "at its deadline");
}

}  // namespace

int main() {
    for (int size = 1; size <= 6; ++size) {
        for (const std::size_t tree_limit : {std::size_t{0}, std::size_t{1} << 30}) {
            for (const std::size_t count : {0, 1, 5, 1000, 150000}) {
                all_operations(size, tree_limit, count);
            }
        }
    }
    for (int repetition = 0; repetition < 20; ++repetition) {
        aborted_while_waiting();
        closed_by_another_thread();
        different_calls();
    }
    nobody_comes();
    return failures == 0 ? 0 : 1;
}
