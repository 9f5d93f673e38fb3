/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One function for each thing to try of the kernel. Each returns 0, or the -errno of the try, and may write what is
 * worth showing into `detail` (KERNEL_DETAIL bytes, empty before). None leaves anything behind.
 */
#ifndef PERILUNE_KERNEL_TRY_H
#define PERILUNE_KERNEL_TRY_H

#define KERNEL_DETAIL 128

typedef int (*kernel_try_fn)(char *detail);

/* kernel_try.c: maps, helpers, the machine */
int kernel_try__bpf(char *detail);
int kernel_try__memory(char *detail);
int kernel_try__batch(char *detail);
int kernel_try__grace(char *detail);
int kernel_try__mmap(char *detail);
int kernel_try__ringbuf(char *detail);
int kernel_try__stats(char *detail);
int kernel_try__bpffs(char *detail);
int kernel_try__membarrier(char *detail);
int kernel_try__cpus(char *detail);
int kernel_try__btf(char *detail);

/* kernel_try_prog.c: programs and where they attach */
int kernel_try__jit(char *detail);
int kernel_try__xdp(char *detail);
int kernel_try__tc(char *detail);
int kernel_try__tcx(char *detail);
int kernel_try__clsact(char *detail);
int kernel_try__global_functions(char *detail);
int kernel_try__loop(char *detail);
int kernel_try__coarse_clock(char *detail);
int kernel_try__test_run(char *detail);
int kernel_try__gather(char *detail);

#endif
