/* A process-wide thread pool for short parallel loops.
 *
 * Threads are made once, spin briefly between loops and then sleep. Every thread has an equal share of a
 * loop's tasks, claimed one by one, and then helps with the others': loops over the same images find a
 * thread at the pixels that it wrote before. The caller works too and waits only for claimed tasks, never
 * for a sleeping thread.
 *
 * A thread that wakes up may find itself on the processor of the one that woke it: schedulers in virtual
 * machines take an idle processor for one that is not there. Until they notice, two threads are slower
 * than one, so such a thread moves to another of the processors that it may use.
 */
#ifndef LOWBITC_POOL_H
#define LOWBITC_POOL_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

enum { MAX_THREADS = 64, TASK_BITS = 20, MAX_TASKS = (1 << TASK_BITS) - 1, SPINS = 4000 };

typedef void Task(void *context, int task, int thread);

/* What is left of a thread's share of a loop; a cache line of its own. */
typedef struct {
    _Alignas(64) _Atomic uint64_t ticket; /* loop number | end of the share | next task */
} Share;

static struct {
    Share share[MAX_THREADS];
    pthread_mutex_t owner, sleep;
    pthread_cond_t wake;
    int threads;                /* helpers that exist, besides the caller */
    atomic_int wanted;          /* helpers that may work on the current loop */
    atomic_int sleepers;
    atomic_int processor[MAX_THREADS]; /* on which each thread was seen last, + 1; the caller is 0 */
    uint64_t loop;              /* loops so far */
    atomic_int finished;
    Task *_Atomic function;
    void *_Atomic context;
} pool = {.owner = PTHREAD_MUTEX_INITIALIZER, .sleep = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static inline void pool_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static inline int ticket_left(uint64_t t) { return (t & MAX_TASKS) < (t >> TASK_BITS & MAX_TASKS); }

#ifdef __linux__
static void pool_note_processor(int thread) { atomic_store(&pool.processor[thread], sched_getcpu() + 1); }

/* Move where no thread before this one is; the threads keep the processors that they may use. */
static void pool_step_aside(int thread) {
    cpu_set_t all, others;
    pool_note_processor(thread);
    if (sched_getaffinity(0, sizeof all, &all) != 0) return; /* more processors than a set holds */
    others = all;
    const int here = atomic_load(&pool.processor[thread]);
    int shared = 0;
    for (int i = 0; i < thread; i++) {
        const int taken = atomic_load(&pool.processor[i]);
        if (taken > 0 && taken <= CPU_SETSIZE) CPU_CLR(taken - 1, &others);
        shared |= taken == here;
    }
    if (!shared || CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0) return;
    pool_note_processor(thread);
    sched_setaffinity(0, sizeof all, &all);
}
#else
static void pool_note_processor(int thread) { (void)thread; }
static void pool_step_aside(int thread) { (void)thread; }
#endif

/* Claim and run tasks of one share until none is left. The claim succeeds only if the ticket is unchanged,
 * so function and context, written before the ticket, belong to it. */
static int pool_work_on(Share *share, int thread) {
    int did = 0;
    uint64_t t = atomic_load_explicit(&share->ticket, memory_order_acquire);
    while (ticket_left(t) && thread <= atomic_load_explicit(&pool.wanted, memory_order_relaxed)) {
        if (!atomic_compare_exchange_weak_explicit(&share->ticket, &t, t + 1, memory_order_acq_rel,
                                                   memory_order_acquire))
            continue;
        Task *function = atomic_load_explicit(&pool.function, memory_order_relaxed);
        function(atomic_load_explicit(&pool.context, memory_order_relaxed), (int)(t & MAX_TASKS), thread);
        atomic_fetch_add_explicit(&pool.finished, 1, memory_order_release);
        did = 1;
        t = atomic_load_explicit(&share->ticket, memory_order_acquire);
    }
    return did;
}

/* Work on this thread's share, then on those behind it. */
static int pool_work(int thread) {
    int did = 0;
    const int shares = atomic_load_explicit(&pool.wanted, memory_order_relaxed) + 1;
    for (int i = 0; i < shares; i++) did |= pool_work_on(&pool.share[(thread + i) % shares], thread);
    return did;
}

static int pool_has_work(int thread) {
    const int wanted = atomic_load_explicit(&pool.wanted, memory_order_relaxed);
    int left = 0;
    for (int i = 0; i <= wanted && !left; i++)
        left = ticket_left(atomic_load_explicit(&pool.share[i].ticket, memory_order_acquire));
    return thread <= wanted && left;
}

static void *pool_thread(void *argument) {
    const int thread = (int)(intptr_t)argument;
    for (int idle = 0;;) {
        if (pool_has_work(thread)) {
            if (pool_work(thread)) idle = 0;
        } else if (idle < SPINS) {
            idle++;
            pool_relax();
        } else {
            pthread_mutex_lock(&pool.sleep);
            atomic_fetch_add(&pool.sleepers, 1);
            while (!pool_has_work(thread)) pthread_cond_wait(&pool.wake, &pool.sleep);
            atomic_fetch_sub(&pool.sleepers, 1);
            pthread_mutex_unlock(&pool.sleep);
            pool_step_aside(thread);
            idle = 0;
        }
    }
    return NULL;
}

/* Take the pool for a run with `threads` threads; return how many there are, the caller included. */
static int pool_acquire(int threads) {
    pthread_mutex_lock(&pool.owner);
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    while (pool.threads < threads - 1) {
        pthread_t handle;
        if (pthread_create(&handle, NULL, pool_thread, (void *)(intptr_t)(pool.threads + 1)) != 0) break;
        pthread_detach(handle);
        pool.threads++;
    }
    if (threads > pool.threads + 1) threads = pool.threads + 1;
    atomic_store(&pool.wanted, threads - 1);
    return threads;
}

static void pool_release(void) {
    atomic_store(&pool.wanted, 0);
    pthread_mutex_unlock(&pool.owner);
}

/* Run function(context, 0 .. tasks - 1, thread) and return when all are done. */
static void pool_for(Task *function, void *context, int tasks, int threads) {
    if (threads <= 1 || tasks <= 1) {
        for (int i = 0; i < tasks; i++) function(context, i, 0);
        return;
    }
    atomic_store_explicit(&pool.function, function, memory_order_relaxed);
    atomic_store_explicit(&pool.context, context, memory_order_relaxed);
    atomic_store_explicit(&pool.finished, 0, memory_order_relaxed);
    pool.loop++;
    const int shares = atomic_load_explicit(&pool.wanted, memory_order_relaxed) + 1;
    for (int i = 0; i < shares; i++) {
        const uint64_t start = (uint64_t)tasks * (uint64_t)i / (uint64_t)shares;
        const uint64_t end = (uint64_t)tasks * (uint64_t)(i + 1) / (uint64_t)shares;
        atomic_store(&pool.share[i].ticket, pool.loop << (2 * TASK_BITS) | end << TASK_BITS | start);
    }
    if (atomic_load(&pool.sleepers) > 0) {
        pool_note_processor(0);
        pthread_mutex_lock(&pool.sleep);
        pthread_cond_broadcast(&pool.wake);
        pthread_mutex_unlock(&pool.sleep);
        sched_yield(); /* so that a thread on this processor can step aside */
    }
    pool_work(0);
    for (int spins = 0; atomic_load_explicit(&pool.finished, memory_order_acquire) < tasks; spins++) {
        if (spins < SPINS) pool_relax();
        else sched_yield();
    }
}

/* A forked child has none of the threads; it makes its own when it first runs. */
static void pool_after_fork(void) {
    pthread_mutex_init(&pool.owner, NULL);
    pthread_mutex_init(&pool.sleep, NULL);
    pthread_cond_init(&pool.wake, NULL);
    pool.threads = 0;
    atomic_store(&pool.sleepers, 0);
    atomic_store(&pool.wanted, 0);
    for (int i = 0; i < MAX_THREADS; i++) atomic_store(&pool.share[i].ticket, 0);
}

#endif
