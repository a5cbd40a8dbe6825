/* Replay a prepared list of Ethernet frames into two veth ends, in one order, as fast as it is taken.
 *
 * Usage: send FRAMES UP_NETNS UP_INTERFACE DOWN_NETNS DOWN_INTERFACE GATE_NETNS RATE BURST PID
 *
 * FRAMES: each frame is a 32-bit little-endian word (length; bit 31 set = sent at the DOWN end, bit 30
 * set = not before all that went before has its verdict: a connection exists for the kernel once its
 * SYN has passed) followed by the frame. RATE: packets a second, evenly; 0 = saturated: as long as process PID is
 * stopped (SIGSTOP), BURST packets are put into its queue, then it is let go until none waits for a
 * verdict (read from the gate namespace's nfnetlink_queue). One core cannot send as fast as a C loop
 * on another accepts; this way the queue never runs empty under whoever works on it, and never loses
 * one: a lost segment would turn a stream into gaps. Both ends are fed by this one thread, pinned by
 * its parent, so the order survives.
 * Prints "PACKETS NANOSECONDS" when all have been handed to the kernel.
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
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 32, PAUSE_NANOSECONDS = 50000 };
static const uint32_t DOWN = 0x80000000u, BARRIER = 0x40000000u, LENGTH = 0x3fffffffu;

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

/* Return how many packets wait in all the queues of the gate's namespace. */
static unsigned long count_waiting(int table)
{
    char text[4096], *line;
    unsigned long waiting = 0, number, total;
    ssize_t length = pread(table, text, sizeof text - 1, 0);

    if (length < 0)
        fail("nfnetlink_queue");
    text[length] = '\0';
    for (line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        if (sscanf(line, "%lu %*u %lu", &number, &total) == 2)
            waiting += total;
        if (strchr(line, '\n') == NULL)
            break;
    }
    return waiting;
}

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void sleep_until(uint64_t deadline)
{
    struct timespec time = {.tv_sec = (time_t)(deadline / 1000000000u), .tv_nsec = (long)(deadline % 1000000000u)};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) != 0)
        ;
}

/* Let the worker go until nothing waits for its verdict. */
static void drain(pid_t worker, int table)
{
    if (kill(worker, SIGCONT) < 0)
        fail("SIGCONT");
    while (count_waiting(table) != 0)
        sleep_until(now() + PAUSE_NANOSECONDS);
}

int main(int argc, char **argv)
{
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    struct stat status;
    const unsigned char *frames;
    size_t at = 0;
    unsigned long rate, burst;
    uint64_t sent = 0, filled = 0, began;
    int ends[2], table, file;
    pid_t worker;

    if (argc != 10) {
        fprintf(stderr, "usage: %s FRAMES UP_NETNS UP_IF DOWN_NETNS DOWN_IF GATE_NETNS RATE BURST PID\n", argv[0]);
        return 2;
    }
    file = open(argv[1], O_RDONLY);
    if (file < 0 || fstat(file, &status) < 0)
        fail(argv[1]);
    frames = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (frames == MAP_FAILED)
        fail("mmap");
    ends[0] = open_end(argv[2], argv[3]);
    ends[1] = open_end(argv[4], argv[5]);
    enter(argv[6]);
    table = open("/proc/thread-self/net/netfilter/nfnetlink_queue", O_RDONLY);
    if (table < 0)
        fail("nfnetlink_queue");
    rate = strtoul(argv[7], NULL, 10);
    burst = strtoul(argv[8], NULL, 10);
    worker = (pid_t)atol(argv[9]);
    memset(messages, 0, sizeof messages);
    began = now();
    while (at < (size_t)status.st_size) {
        unsigned count = 0, limit = rate != 0 ? 1 : BATCH, done = 0;
        uint32_t word, side = 0;

        while (count < limit && at < (size_t)status.st_size) {
            memcpy(&word, frames + at, sizeof word);
            if (count != 0 && ((word & DOWN) != side || (word & BARRIER) != 0))
                break;
            side = word & DOWN;
            if ((word & BARRIER) != 0 && filled != 0) {
                drain(worker, table);
                filled = 0;
            }
            vectors[count].iov_base = (void *)(frames + at + sizeof word);
            vectors[count].iov_len = word & LENGTH;
            messages[count].msg_hdr.msg_iov = &vectors[count];
            messages[count].msg_hdr.msg_iovlen = 1;
            at += sizeof word + (word & LENGTH);
            count++;
        }
        if (rate != 0)
            sleep_until(began + sent * 1000000000u / rate);
        else if (filled == 0 && kill(worker, SIGSTOP) < 0)
            fail("SIGSTOP");
        while (done < count) {
            int taken = sendmmsg(ends[side != 0], messages + done, count - done, 0);

            if (taken < 0)
                fail("sendmmsg");
            done += (unsigned)taken;
        }
        sent += count;
        filled += count;
        if (rate == 0 && (filled >= burst || at >= (size_t)status.st_size)) {
            drain(worker, table);
            filled = 0;
        }
    }
    printf("%llu %llu\n", (unsigned long long)sent, (unsigned long long)(now() - began));
    return 0;
}
