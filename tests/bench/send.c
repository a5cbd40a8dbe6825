/* Fill a queue while its worker is stopped, let the worker drain it, again and again.
 *
 * Usage: send FRAMES UP_NETNS UP_INTERFACE DOWN_NETNS DOWN_INTERFACE GATE_NETNS BURST PID
 *
 * As long as process PID is stopped (SIGSTOP), BURST packets are put into its queue, then it is let go
 * until none waits for a verdict (read from the gate namespace's nfnetlink_queue). One core cannot send
 * as fast as a C loop on another accepts; this way the queue never runs empty under whoever works on it,
 * and never loses one: a lost segment would turn a stream into gaps. PID 0: nobody works, nothing is
 * queued; the kernel forwards all of it inside the sending calls.
 * Prints "PACKETS NANOSECONDS CPU": CPU nanoseconds of the sending alone, without the looks at the queue.
 */
#include "frames.h"

enum { BATCH = 32 };

static void drain(pid_t worker, int table)
{
    if (worker == 0)
        return;
    if (kill(worker, SIGCONT) < 0)
        fail("SIGCONT");
    while (read_queues(table).waiting != 0)
        sleep_until(now() + PAUSE_NANOSECONDS);
}

int main(int argc, char **argv)
{
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    struct frames frames;
    struct frame frame;
    unsigned long burst;
    uint64_t sent = 0, filled = 0, cpu = 0, began, before;
    int ends[2], table;
    pid_t worker;

    if (argc != 9) {
        fprintf(stderr, "usage: %s FRAMES UP_NETNS UP_IF DOWN_NETNS DOWN_IF GATE_NETNS BURST PID\n", argv[0]);
        return 2;
    }
    frames = open_frames(argv[1]);
    ends[0] = open_end(argv[2], argv[3]);
    ends[1] = open_end(argv[4], argv[5]);
    table = open_table(argv[6]);
    burst = strtoul(argv[7], NULL, 10);
    worker = (pid_t)atol(argv[8]);
    memset(messages, 0, sizeof messages);
    began = now();
    while (peek(&frames, &frame)) {
        unsigned count = 0, done = 0;
        int side = frame.down;

        if (frame.barrier && filled != 0) {
            drain(worker, table);
            filled = 0;
        }
        do {
            vectors[count].iov_base = frame.data;
            vectors[count].iov_len = frame.length;
            messages[count].msg_hdr.msg_iov = &vectors[count];
            messages[count].msg_hdr.msg_iovlen = 1;
            pass(&frames, &frame);
            count++;
        } while (count < BATCH && peek(&frames, &frame) && frame.down == side && !frame.barrier);
        if (worker != 0 && filled == 0 && kill(worker, SIGSTOP) < 0)
            fail("SIGSTOP");
        before = used();
        while (done < count) {
            int taken = sendmmsg(ends[side], messages + done, count - done, 0);

            if (taken < 0)
                fail("sendmmsg");
            done += (unsigned)taken;
        }
        cpu += used() - before;
        sent += count;
        filled += count;
        if (filled >= burst || frames.at >= frames.size) {
            drain(worker, table);
            filled = 0;
        }
    }
    printf("%llu %llu %llu\n", (unsigned long long)sent, (unsigned long long)(now() - began), (unsigned long long)cpu);
    return 0;
}
