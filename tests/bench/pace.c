/* Send frames at an even rate and tell how long each was on its way through the gate.
 *
 * Usage: pace FRAMES UP_NETNS UP_INTERFACE DOWN_NETNS DOWN_INTERFACE RATE OUTPUT
 *
 * Each packet is numbered (the IPv4 identification, its checksum mended) and its time of sending noted. At
 * both ends a ring that nobody reads during the run takes the head of each arriving frame with the
 * kernel's own time stamp: reading cannot disturb what is measured. OUTPUT gets one 32-bit word of
 * nanoseconds for each packet that arrived, in the machine's byte order.
 * Prints "PACKETS NANOSECONDS CPU": CPU nanoseconds of the sending calls alone.
 */
#include "frames.h"

/* Zero is no number: the resets that the gate's kernel makes have it. */
enum { CELL = 128, BLOCK = 1 << 16, NUMBERS = 0xffff, IDENTIFICATION = 18, CHECKSUM = 24 };

struct ring {
    unsigned char *start;
    unsigned cells;
};

static struct ring open_ring(const char *namespace, const char *interface, size_t packets)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP)};
    unsigned blocks = (unsigned)((packets * CELL + BLOCK - 1) / BLOCK);
    struct tpacket_req request = {BLOCK, blocks, CELL, blocks * (BLOCK / CELL)};
    struct ring ring = {.cells = request.tp_frame_nr};
    int version = TPACKET_V2, end;

    enter(namespace);
    address.sll_ifindex = (int)if_nametoindex(interface);
    end = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (end < 0 || setsockopt(end, SOL_PACKET, PACKET_VERSION, &version, sizeof version) < 0)
        fail("PACKET_VERSION");
    if (setsockopt(end, SOL_PACKET, PACKET_RX_RING, &request, sizeof request) < 0)
        fail("PACKET_RX_RING");
    ring.start = mmap(NULL, (size_t)blocks * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, end, 0);
    if (ring.start == MAP_FAILED)
        fail("mmap");
    if (bind(end, (struct sockaddr *)&address, sizeof address) < 0)
        fail(interface);
    return ring;
}

static void number_packet(unsigned char *data, uint32_t number)
{
    uint16_t identification = htons((uint16_t)(number % NUMBERS + 1)), old, check;
    uint32_t sum;

    memcpy(&old, data + IDENTIFICATION, sizeof old);
    memcpy(&check, data + CHECKSUM, sizeof check);
    sum = (uint16_t)~check + (uint32_t)(uint16_t)~old + identification; /* RFC 1624 */
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    check = (uint16_t)~sum;
    memcpy(data + IDENTIFICATION, &identification, sizeof identification);
    memcpy(data + CHECKSUM, &check, sizeof check);
}

/* Write the time each arrived packet took; what one end sends out arrives in no ring but the other's. */
static void collect(const struct ring *ring, const uint64_t *times, uint64_t sent, FILE *output)
{
    uint64_t next = 0;
    unsigned cell;

    for (cell = 0; cell < ring->cells; cell++) {
        struct tpacket2_hdr *head = (struct tpacket2_hdr *)(ring->start + (size_t)cell * CELL);
        const unsigned char *data = (unsigned char *)head + head->tp_mac;
        uint64_t number, stamp;
        uint16_t identification;
        uint32_t took;

        if ((head->tp_status & TP_STATUS_USER) == 0)
            break;
        if (((struct sockaddr_ll *)((unsigned char *)head + TPACKET_ALIGN(sizeof *head)))->sll_pkttype == PACKET_OUTGOING)
            continue;
        memcpy(&identification, data + IDENTIFICATION, sizeof identification);
        /* The order is kept, but for packets that waited: look at most half a turn of numbers back. */
        if (identification == 0)
            continue;
        number = next - next % NUMBERS + ntohs(identification) - 1;
        if (number > next + NUMBERS / 2 && number >= NUMBERS)
            number -= NUMBERS;
        else if (number + NUMBERS / 2 < next)
            number += NUMBERS;
        stamp = (uint64_t)head->tp_sec * 1000000000u + head->tp_nsec;
        if (number >= sent || stamp < times[number])
            continue;
        next = number > next ? number : next;
        took = stamp - times[number] < UINT32_MAX ? (uint32_t)(stamp - times[number]) : UINT32_MAX;
        if (fwrite(&took, sizeof took, 1, output) != 1)
            fail("fwrite");
    }
}

int main(int argc, char **argv)
{
    struct frames frames;
    struct frame frame;
    struct ring rings[2];
    unsigned long rate;
    uint64_t sent = 0, packets = 0, cpu = 0, began, ended, before, *times;
    int ends[2];
    FILE *output;

    if (argc != 8) {
        fprintf(stderr, "usage: %s FRAMES UP_NETNS UP_IF DOWN_NETNS DOWN_IF RATE OUTPUT\n", argv[0]);
        return 2;
    }
    frames = open_frames(argv[1]);
    for (; peek(&frames, &frame); pass(&frames, &frame))
        packets++;
    frames.at = 0;
    times = calloc(packets + 1, sizeof *times);
    output = fopen(argv[7], "wb");
    if (times == NULL || output == NULL)
        fail(argv[7]);
    ends[0] = open_end(argv[2], argv[3]);
    ends[1] = open_end(argv[4], argv[5]);
    rings[0] = open_ring(argv[2], argv[3], packets + NUMBERS / 64);
    rings[1] = open_ring(argv[4], argv[5], packets + NUMBERS / 64);
    rate = strtoul(argv[6], NULL, 10);
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    began = now();
    for (; peek(&frames, &frame); pass(&frames, &frame)) {
        number_packet(frame.data, (uint32_t)sent);
        sleep_until(began + sent * 1000000000u / rate);
        times[sent] = read_clock(CLOCK_REALTIME); /* the clock of the ring's stamps */
        before = used();
        if (send(ends[frame.down], frame.data, frame.length, 0) < 0)
            fail("send");
        cpu += used() - before;
        sent++;
    }
    ended = now();
    sleep_until(ended + 200000000u); /* what still waits in the queue */
    collect(&rings[0], times, sent, output);
    collect(&rings[1], times, sent, output);
    if (fclose(output) != 0)
        fail("fclose");
    printf("%llu %llu %llu\n", (unsigned long long)sent, (unsigned long long)(ended - began), (unsigned long long)cpu);
    return 0;
}
