/* Accept every packet of one NFQUEUE: the least that any tool in user space can cost.
 *
 * Plain recv() and nfq_handle_packet() of libnetfilter_queue, as its own example does it, with the
 * copy range and the socket buffer of the Python binding, so that the two differ in nothing else.
 * Usage: accept_all QUEUE
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <linux/netfilter.h>
#include <libnetfilter_queue/libnetfilter_queue.h>

enum { COPY_RANGE = 4096, QUEUE_LENGTH = 1024, SOCKET_BYTES = QUEUE_LENGTH * COPY_RANGE / 2 };

static int accept_packet(struct nfq_q_handle *queue, struct nfgenmsg *message, struct nfq_data *packet,
                         void *context)
{
    struct nfqnl_msg_packet_hdr *header = nfq_get_msg_packet_hdr(packet);
    unsigned char *payload;

    (void)message;
    (void)context;
    if (header == NULL)
        return -1;
    (void)nfq_get_payload(packet, &payload);
    return nfq_set_verdict(queue, ntohl(header->packet_id), NF_ACCEPT, 0, NULL);
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

int main(int argc, char **argv)
{
    static char buffer[COPY_RANGE + 4096] __attribute__((aligned(8)));
    struct nfq_handle *library;
    struct nfq_q_handle *queue;
    int descriptor;

    if (argc != 2) {
        fprintf(stderr, "usage: %s QUEUE\n", argv[0]);
        return 2;
    }
    library = nfq_open();
    if (library == NULL)
        fail("nfq_open");
    queue = nfq_create_queue(library, (uint16_t)atoi(argv[1]), accept_packet, NULL);
    if (queue == NULL)
        fail("nfq_create_queue");
    if (nfq_set_mode(queue, NFQNL_COPY_PACKET, COPY_RANGE) < 0)
        fail("nfq_set_mode");
    if (nfq_set_queue_maxlen(queue, QUEUE_LENGTH) < 0)
        fail("nfq_set_queue_maxlen");
    nfnl_rcvbufsiz(nfq_nfnlh(library), SOCKET_BYTES);
    descriptor = nfq_fd(library);
    for (;;) {
        ssize_t length = recv(descriptor, buffer, sizeof buffer, 0);
        if (length > 0)
            nfq_handle_packet(library, buffer, (int)length);
        else if (length < 0 && errno != ENOBUFS && errno != EINTR)
            fail("recv");
    }
}
