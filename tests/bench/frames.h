/* What the senders share: the prepared frames, the two veth ends, the queue's counters, the clock.
 *
 * FRAMES: each frame is a 32-bit little-endian word (length; bit 31 set = sent at the DOWN end, bit 30
 * set = not before all that went before has its verdict: a connection exists for the kernel once its
 * SYN has passed) followed by the frame. Both ends are fed by one thread, so the order survives.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PAUSE_NANOSECONDS = 50000 };
static const uint32_t DOWN = 0x80000000u, BARRIER = 0x40000000u, LENGTH = 0x3fffffffu;

struct frames {
    unsigned char *start;
    size_t at, size;
};

struct frame {
    unsigned char *data;
    uint32_t length;
    int down, barrier;
};

struct counters {
    unsigned long waiting, lost;
};

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void enter(const char *name)
{
    char path[256];
    int namespace;

    snprintf(path, sizeof path, "/run/netns/%s", name);
    namespace = open(path, O_RDONLY | O_CLOEXEC);
    if (namespace < 0 || setns(namespace, CLONE_NEWNET) < 0)
        fail(path);
    close(namespace);
}

static int open_end(const char *namespace, const char *interface)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET};
    int one = 1, end;

    enter(namespace);
    address.sll_ifindex = (int)if_nametoindex(interface);
    end = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); /* protocol 0: receives nothing */
    if (end < 0 || address.sll_ifindex == 0 || bind(end, (struct sockaddr *)&address, sizeof address) < 0)
        fail(interface);
    if (setsockopt(end, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one) < 0)
        fail("PACKET_QDISC_BYPASS");
    return end;
}

/* The pages are private: a sender may number the packets in place. */
static struct frames open_frames(const char *path)
{
    struct frames frames = {.at = 0};
    struct stat status;
    int file = open(path, O_RDONLY | O_CLOEXEC);

    if (file < 0 || fstat(file, &status) < 0)
        fail(path);
    frames.size = (size_t)status.st_size;
    frames.start = NULL;
    if (frames.size == 0) { /* mmap takes no empty file */
        close(file);
        return frames;
    }
    frames.start = mmap(NULL, frames.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (frames.start == MAP_FAILED)
        fail("mmap");
    close(file);
    return frames;
}

/* Read the next frame without passing it; 0 at the end. */
static int peek(const struct frames *frames, struct frame *frame)
{
    uint32_t word;

    if (frames->at >= frames->size)
        return 0;
    memcpy(&word, frames->start + frames->at, sizeof word);
    frame->data = frames->start + frames->at + sizeof word;
    frame->length = word & LENGTH;
    frame->down = (word & DOWN) != 0;
    frame->barrier = (word & BARRIER) != 0;
    return 1;
}

static void pass(struct frames *frames, const struct frame *frame)
{
    frames->at += sizeof(uint32_t) + frame->length;
}

static int open_table(const char *namespace)
{
    int table;

    enter(namespace);
    table = open("/proc/thread-self/net/netfilter/nfnetlink_queue", O_RDONLY | O_CLOEXEC);
    if (table < 0)
        fail("nfnetlink_queue");
    return table;
}

/* Return what all the queues of the gate's namespace say: packets that wait, and packets that were lost. */
static struct counters read_queues(int table)
{
    struct counters sum = {0, 0};
    unsigned long total, dropped, user_dropped;
    char text[4096], *line;
    ssize_t length = pread(table, text, sizeof text - 1, 0);

    if (length < 0)
        fail("nfnetlink_queue");
    text[length] = '\0';
    for (line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        if (sscanf(line, "%*u %*u %lu %*u %*u %lu %lu", &total, &dropped, &user_dropped) == 3) {
            sum.waiting += total;
            sum.lost += dropped + user_dropped;
        }
        if (strchr(line, '\n') == NULL)
            break;
    }
    return sum;
}

static uint64_t read_clock(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

/* What this thread has cost, receptions that the kernel ran inside its system calls included. */
static uint64_t used(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

static void sleep_until(uint64_t deadline)
{
    struct timespec time = {.tv_sec = (time_t)(deadline / 1000000000u), .tv_nsec = (long)(deadline % 1000000000u)};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) != 0)
        ;
}
