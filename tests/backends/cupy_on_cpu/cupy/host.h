// CUDA C++ for g++, as far as our kernels use it. No header of the system is included: kernels compile in a moment.
#define ON_HOST
#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __shared__ static

struct cpu_dim { unsigned x, y, z; };
extern "C" cpu_dim threadIdx, blockIdx, blockDim, gridDim;
extern "C" unsigned char cpu_slots[][16];
extern "C" void cpu_wait(int for_block);
extern "C" int cpu_thread();
extern "C" const char *cpu_launch(
    void (*function)(void **), const unsigned *grid, const unsigned *block, void **args, int waits);

// A macro, so that each place in the kernel has an address of its own.
#define __syncthreads() cpu_wait(1)
#define __syncwarp() cpu_wait(0)

template <class T> static T cpu_exchange(T value, int lane) {
    int thread = cpu_thread();
    __builtin_memcpy(cpu_slots[thread], &value, sizeof value);
    cpu_wait(0);
    __builtin_memcpy(&value, cpu_slots[(thread & ~31) | lane], sizeof value);
    cpu_wait(0);
    return value;
}
#define CPU_SHUFFLE(T) \
    static inline T __shfl_xor_sync(unsigned, T v, int step) { return cpu_exchange(v, (cpu_thread() ^ step) & 31); } \
    static inline T __shfl_sync(unsigned, T v, int lane) { return cpu_exchange(v, lane & 31); }
CPU_SHUFFLE(int) CPU_SHUFFLE(unsigned) CPU_SHUFFLE(long long) CPU_SHUFFLE(unsigned long long)
CPU_SHUFFLE(float) CPU_SHUFFLE(double)

#define CPU_ADD(T) static inline T atomicAdd(T *place, T value) { T old = *place; *place = old + value; return old; }
CPU_ADD(int) CPU_ADD(unsigned) CPU_ADD(unsigned long long) CPU_ADD(float) CPU_ADD(double)
#define CPU_SWAP(T) \
    static inline T atomicCAS(T *place, T expected, T value) { \
        T old = *place; if (old == expected) *place = value; return old; \
    }
CPU_SWAP(int) CPU_SWAP(unsigned) CPU_SWAP(unsigned long long)

static inline float __int_as_float(int bits) { float value; __builtin_memcpy(&value, &bits, 4); return value; }
static inline int __float_as_int(float value) { int bits; __builtin_memcpy(&bits, &value, 4); return bits; }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}

#define CPU_MATH(name) \
    static inline float name(float x) { return __builtin_##name##f(x); } \
    static inline double name(double x) { return __builtin_##name(x); }
CPU_MATH(exp) CPU_MATH(log) CPU_MATH(log1p) CPU_MATH(expm1) CPU_MATH(sqrt) CPU_MATH(tanh) CPU_MATH(erf) CPU_MATH(floor)
CPU_MATH(fabs) CPU_MATH(sin) CPU_MATH(cos) CPU_MATH(tan) CPU_MATH(asin) CPU_MATH(acos) CPU_MATH(atan) CPU_MATH(sinh)
CPU_MATH(cosh) CPU_MATH(asinh) CPU_MATH(acosh) CPU_MATH(atanh) CPU_MATH(exp2) CPU_MATH(log2) CPU_MATH(log10)
CPU_MATH(ceil) CPU_MATH(trunc)
#define CPU_MATH2(name) \
    static inline float name(float x, float y) { return __builtin_##name##f(x, y); } \
    static inline double name(double x, double y) { return __builtin_##name(x, y); }
CPU_MATH2(fmod) CPU_MATH2(copysign) CPU_MATH2(pow)
static inline float rsqrt(float x) { return 1 / __builtin_sqrtf(x); }
static inline double rsqrt(double x) { return 1 / __builtin_sqrt(x); }
#define CPU_LIMITS(T) \
    static inline T min(T a, T b) { return b < a ? b : a; } \
    static inline T max(T a, T b) { return b > a ? b : a; }
CPU_LIMITS(int) CPU_LIMITS(long long) CPU_LIMITS(float) CPU_LIMITS(double)

// IEEE 754 binary16, to nearest, ties to even.
static inline float half_to_float(unsigned short bits) {
    unsigned sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31, mantissa = bits & 1023;
    if (exponent == 31) return __int_as_float(sign | 0x7f800000 | mantissa << 13);
    if (exponent) return __int_as_float(sign | (exponent + 112) << 23 | mantissa << 13);
    float value = mantissa * 5.9604644775390625e-08f;  // 2 ** -24
    return sign ? -value : value;
}
static inline unsigned short float_to_half(float value) {
    unsigned bits = __float_as_int(value), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size > 0x7f800000) return sign | 0x7e00;
    if (size >= 0x477ff000) return sign | 0x7c00;
    if (size < 0x38800000) return sign | (unsigned)__builtin_rintf(__builtin_fabsf(value) * 16777216.0f);
    size += 0xfff + (size >> 13 & 1);
    return sign | ((size - 0x38000000) >> 13);
}
