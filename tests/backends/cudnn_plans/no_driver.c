/* What cuDNN's plans ask of the driver and of CUDA's runtime while they are built for a device that is not here: that it
   is there, and that modules load. Nothing is run. Compiled as libcuda.so.1 and, again, in place of libcudart. */
#include <stddef.h>

#define DONE(name) int name(void) { return 0; }
#define MADE(name) int name(void **made) { *made = (void *)8; return 0; }

int cuDriverGetVersion(int *version) { *version = 12090; return 0; }
MADE(cuCtxGetCurrent) MADE(cuKernelGetFunction) MADE(cuLibraryGetKernel) MADE(cuLibraryLoadData)
MADE(cuLibraryLoadFromFile) MADE(cuModuleGetFunction) MADE(cuModuleLoadData)
DONE(cuCtxGetLimit) DONE(cuCtxPopCurrent) DONE(cuCtxPushCurrent) DONE(cuDeviceGet) DONE(cuDeviceGetCount)
DONE(cuGetErrorName) DONE(cuGetErrorString) DONE(cuKernelGetAttribute) DONE(cuKernelSetAttribute)
DONE(cuLaunchCooperativeKernel) DONE(cuLaunchKernel) DONE(cuLaunchKernelEx) DONE(cuLibraryUnload) DONE(cuLinkAddData)
DONE(cuLinkComplete) DONE(cuLinkCreate) DONE(cuLinkDestroy) DONE(cuModuleUnload)
DONE(cuOccupancyMaxPotentialClusterSize) DONE(cuStreamGetCtx) DONE(cuTensorMapEncodeIm2col) DONE(cuTensorMapEncodeTiled)

int cudaGetDevice(int *device) { *device = 0; return 0; }
int cudaDeviceGetAttribute(int *value, int attribute, int device) { *value = 1; return 0; }
const char *cudaGetErrorString(int error) { return "no driver"; }
DONE(cudaGetLastError)
int cudaRuntimeGetVersion(int *version) { *version = 12090; return 0; }
