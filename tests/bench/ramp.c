/* Send faster and faster until the queue loses its first packet.
 *
 * Usage: ramp FRAMES UP_NETNS UP_INTERFACE DOWN_NETNS DOWN_INTERFACE GATE_NETNS RATE STEP_MS PERCENT
 *
 * Each step of STEP_MS milliseconds is PERCENT faster than the last. It ends with the first loss, when the
 * queue was long after three steps in a row, with the last frame, or when the sender itself has not been as
 * fast as it should be for three steps.
 * Prints "RATE WHY": packets a second, as sent, of the fastest step without loss or a long queue at its end;
 * WHY is loss, late, frames or sender.
 */
#include "frames.h"

/* A gate in enforce mode may keep up to 512 packets waiting for a wake word. */
enum { SLOW_STEPS = 3, LATE_STEPS = 3, CALM = 768 };
static const double SENDER_TOLERANCE = 0.95;

int main(int argc, char **argv)
{
    struct frames frames;
    struct frame frame;
    struct counters counters;
    unsigned long lost;
    uint64_t step;
    double rate, growth, best = 0;
    const char *why = "frames";
    int ends[2], table, slow = 0, late = 0;

    if (argc != 10) {
        fprintf(stderr, "usage: %s FRAMES UP_NETNS UP_IF DOWN_NETNS DOWN_IF GATE_NETNS RATE STEP_MS PERCENT\n",
                argv[0]);
        return 2;
    }
    frames = open_frames(argv[1]);
    ends[0] = open_end(argv[2], argv[3]);
    ends[1] = open_end(argv[4], argv[5]);
    table = open_table(argv[6]);
    rate = strtod(argv[7], NULL);
    step = strtoul(argv[8], NULL, 10) * 1000000u;
    growth = 1 + strtod(argv[9], NULL) / 100;
    lost = read_queues(table).lost;
    for (;; rate *= growth) {
        uint64_t began = now(), wanted = (uint64_t)(rate * (double)step / 1e9), count;
        double seconds;

        /* No sleep: a core of the sender's own sends evenly only while it does not wait for a timer. */
        for (count = 0; count < wanted && peek(&frames, &frame); pass(&frames, &frame), count++) {
            uint64_t due = began + (uint64_t)((double)count * 1e9 / rate);

            while (now() < due)
                ;
            if (send(ends[frame.down], frame.data, frame.length, 0) < 0)
                fail("send");
        }
        seconds = (double)(now() - began) / 1e9;
        counters = read_queues(table);
        if (counters.lost != lost) {
            why = "loss";
            break;
        }
        if (count < wanted)
            break;
        late = counters.waiting < CALM ? 0 : late + 1;
        if (late == 0) /* else it was the queue that bore the step, not the worker */
            best = (double)count / seconds > best ? (double)count / seconds : best;
        if (late == LATE_STEPS) {
            why = "late";
            break;
        }
        slow = (double)count / seconds < rate * SENDER_TOLERANCE ? slow + 1 : 0;
        if (slow == SLOW_STEPS) {
            why = "sender";
            break;
        }
    }
    printf("%.0f %s\n", best, why);
    return 0;
}
