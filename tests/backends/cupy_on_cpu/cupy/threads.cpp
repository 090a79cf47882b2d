// Threads of CUDA blocks on one CPU thread, for tests: each is a fiber that runs until it waits for others.
//
// A kernel that lets some threads of a warp or block wait where the others do not, or ends while others wait for it, is
// reported instead of hanging. Contexts are made once by makecontext; switching is _setjmp and _longjmp, which, unlike
// swapcontext, ask nothing of the operating system.
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

struct Dim { unsigned x, y, z; };
enum State { READY, AT_WARP, AT_BLOCK, ENDED };
enum { FIBERS = 1024, STACK = 1 << 16, WARP = 32 };

struct Fiber {
    jmp_buf place;
    ucontext_t context;
    char *stack;
    bool born;
    State state;
    const void *site;
    Dim index;
};

extern "C" {
Dim threadIdx, blockIdx, blockDim, gridDim;
unsigned char cpu_slots[FIBERS][16];
}

static Fiber fibers[FIBERS];
static jmp_buf scheduler;
static int current;
static void (*task)(void **);
static void **arguments;
static char message[200];

static void live() {
    for (;;) {
        task(arguments);
        fibers[current].state = ENDED;
        if (!_setjmp(fibers[current].place)) _longjmp(scheduler, 1);
    }
}

static void resume(int number) {
    Fiber &fiber = fibers[number];
    current = number;
    threadIdx = fiber.index;
    if (_setjmp(scheduler)) return;
    if (fiber.born) _longjmp(fiber.place, 1);
    fiber.born = true;
    if (!fiber.stack) fiber.stack = (char *)malloc(STACK);
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack;
    fiber.context.uc_stack.ss_size = STACK;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, live, 0);
    setcontext(&fiber.context);
}

extern "C" void cpu_wait(int for_block) {
    Fiber &fiber = fibers[current];
    fiber.state = for_block ? AT_BLOCK : AT_WARP;
    fiber.site = __builtin_return_address(0);
    if (!_setjmp(fiber.place)) _longjmp(scheduler, 1);
}

extern "C" int cpu_thread() { return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z); }

// Whether all living fibers from `first` to `last` wait in this state, in the same place of the kernel.
static bool all_wait(int first, int last, State state) {
    const void *site = nullptr;
    for (int i = first; i < last; ++i) {
        if (fibers[i].state == ENDED) continue;
        if (fibers[i].state != state || (site && fibers[i].site != site)) return false;
        site = fibers[i].site;
    }
    return site != nullptr;
}

static void release(int first, int last) {
    for (int i = first; i < last; ++i)
        if (fibers[i].state != ENDED) fibers[i].state = READY;
}

static bool run_block(int threads) {
    for (int i = 0; i < threads; ++i) {
        fibers[i].state = READY;
        fibers[i].index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
    }
    for (;;) {
        for (int i = 0; i < threads; ++i)
            if (fibers[i].state == READY) resume(i);
        bool released = false, ended = true;
        for (int w = 0; w < threads; w += WARP) {
            int last = w + WARP < threads ? w + WARP : threads;
            if (all_wait(w, last, AT_WARP)) { release(w, last); released = true; }
        }
        for (int i = 0; i < threads; ++i) ended = ended && fibers[i].state == ENDED;
        if (ended) return true;
        if (!released && all_wait(0, threads, AT_BLOCK)) { release(0, threads); released = true; }
        if (!released) {
            snprintf(message, sizeof message, "threads of block (%u, %u, %u) wait for each other in different places",
                     blockIdx.x, blockIdx.y, blockIdx.z);
            for (int i = 0; i < threads; ++i) fibers[i].born = false;
            return false;
        }
    }
}

// Run `function` for every thread; returns what went wrong, or null.
extern "C" const char *cpu_launch(
    void (*function)(void **), const unsigned *grid, const unsigned *block, void **args, int waits) {
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    task = function;
    arguments = args;
    int threads = block[0] * block[1] * block[2];
    for (unsigned z = 0; z < grid[2]; ++z)
        for (unsigned y = 0; y < grid[1]; ++y)
            for (unsigned x = 0; x < grid[0]; ++x) {
                blockIdx = {x, y, z};
                if (waits) {
                    if (!run_block(threads)) return message;
                    continue;
                }
                for (int i = 0; i < threads; ++i) {
                    threadIdx = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
                    function(args);
                }
            }
    return nullptr;
}
