// Counts how often the warps of a launch execute each basic block of a kernel. Blocks must run one
// after the other.
//
// The threads of a warp execute a basic block together if they have met at the same number of
// exchanges and barriers, and have gone back equally often in loops since. Threads whose inner loops have
// different lengths count apart, so the count is an upper bound.
#pragma once
#include <vector>

namespace count {
const unsigned int MAX_WARPS = emulator::MAX_THREADS / 32;

std::vector<uint64_t> counts;
// The last meeting at which a thread of the warp has executed one, for each number of returns.
std::vector<uint64_t> last_meeting[MAX_WARPS];
uint64_t meetings[emulator::MAX_THREADS];
size_t returns[emulator::MAX_THREADS];
size_t n_basic_block;

inline void begin(size_t n) {
    n_basic_block = n;
    if (counts.size() < n) counts.resize(n);
    // No two blocks have a meeting in common.
    meetings[threadIdx.x] = (uint64_t)(blockIdx.x + 1) << 32, returns[threadIdx.x] = 0;
}
inline void converge() { meetings[threadIdx.x]++, returns[threadIdx.x] = 0; }
inline void go_back() { returns[threadIdx.x]++; }
inline void basic_block(size_t number) {
    std::vector<uint64_t>& last = last_meeting[threadIdx.x / 32];
    size_t place = returns[threadIdx.x] * n_basic_block + number;
    if (last.size() <= place) last.resize(2 * place + 1);
    if (last[place] == meetings[threadIdx.x]) return;
    last[place] = meetings[threadIdx.x], counts[number]++;
}
}  // namespace count

// Copies the counts since the last call, one for each basic block.
extern "C" void take_counts(uint64_t* counts, size_t n) {
    for (size_t i = 0; i < n; i++) counts[i] = i < count::counts.size() ? count::counts[i] : 0;
    count::counts.clear();
    for (auto& each : count::last_meeting) each.clear();
}
