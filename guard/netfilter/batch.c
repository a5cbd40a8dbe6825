/* Packets of a bound queue, many to a system call: recvmmsg() for what waits, one sendto() for the verdicts.
 *
 * Knows: the layout of nfnetlink_queue's messages (linux/netfilter/nfnetlink_queue.h). Refuses to know: how a
 * queue is bound (netfilterqueue does that) and what a verdict is for. Optional: where it was not built,
 * netfilterqueue's own loop serves, with the same Packet methods and the same answers; see queue.py, which
 * says what receive(packet, mark, payload, ns) is and what its answer means. The clock is asked once for the packets
 * of one recvmmsg().
 *
 * A verdict given inside run() is sent at the end of the chunk in hand, one for all packets in a row that get the
 * same, unless one is kept; a verdict given outside is sent at once. What a send could not deliver stays, and goes
 * first with the next one or with flush(); the OSError comes out of run(), of flush() or of the verdict.
 */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>
#include <structmember.h>

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

enum {
    CHUNK = 32,        /* packets of one recvmmsg(); more gain nothing, and the first waits for the last */
    ROOM = 73 * 64,    /* of a message: the copy range is 3840 bytes, attributes take some hundred; no power of
                          two, which would have all messages of a chunk share the same few lines of the cache */
    VERDICT = 40,      /* bytes of a verdict with its mark */
    KEPT = 64 * CHUNK, /* verdicts that may wait for a send; a batch releases what was held as well */
    DROP = -1,         /* answers of receive(): queue.py's */
    KEEP = -2,
};

typedef struct {
    PyObject_HEAD
    PyObject *receive;
    PyObject *clock;
    PyObject *pause;      /* the exception that is no fault: it ends the batch */
    struct Packet *spare; /* a Packet that nobody refers to any more */
    int descriptor;
    uint16_t number;      /* big-endian */
    int running;
    int waiting;          /* verdicts in ``out`` */
    long long open;       /* packets that were read and have no verdict */
    unsigned long long failed;
    struct mmsghdr headers[CHUNK];
    struct iovec parts[CHUNK];
    char (*in)[ROOM];
    char *out;
} Batch;

typedef struct Packet {
    PyObject_HEAD
    Batch *batch;
    PyObject *payload;
    uint32_t id;       /* big-endian */
    uint32_t mark;
    uint32_t indev;
    int answered;
    uint8_t hook;
} Packet;

struct verdict {
    struct nlmsghdr header;
    struct nfgenmsg generic;
    struct nlattr verdict_attribute;
    struct nfqnl_msg_verdict_hdr words;
    struct nlattr mark_attribute;
    uint32_t mark; /* big-endian, as the words are */
};
_Static_assert(sizeof(struct verdict) == VERDICT, "as nfnetlink lays it out");

static PyTypeObject PacketType, BatchType;

/* -- verdicts ---------------------------------------------------------------------------------------- */

static int flush(Batch *self)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    int sent = 0;

    while (sent < self->waiting) {
        int count = self->waiting - sent < CHUNK ? self->waiting - sent : CHUNK;
        ssize_t done;

        do
            done = sendto(self->descriptor, self->out + sent * VERDICT, (size_t)(count * VERDICT), 0,
                          (struct sockaddr *)&kernel, sizeof kernel);
        while (done < 0 && errno == EINTR);
        if (done < 0) {
            memmove(self->out, self->out + sent * VERDICT, (size_t)((self->waiting - sent) * VERDICT));
            self->waiting -= sent;
            PyErr_SetFromErrno(PyExc_OSError);
            return -1;
        }
        sent += count;
    }
    self->waiting = 0;
    return 0;
}

/* Let the verdict in hand be that of another packet besides; say whether it can.
 *
 * NFQNL_MSG_VERDICT_BATCH answers whatever the kernel still has up to an id. That is this packet and those of the
 * verdict before, and nothing else, as long as every packet that was read has its verdict: verdicts before are
 * carried out before, and a packet that was not read yet has a later id. */
static int widen(Batch *batch, const Packet *packet, uint32_t verdict, uint32_t mark)
{
    struct verdict *last = (struct verdict *)batch->out + batch->waiting - 1;

    if (!batch->running || batch->open || !batch->waiting || last->words.verdict != verdict || last->mark != mark ||
        (int32_t)(ntohl(packet->id) - ntohl(last->words.id)) <= 0)
        return 0;
    last->header.nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_VERDICT_BATCH;
    last->words.id = packet->id;
    return 1;
}

static int answer(Packet *self, uint32_t verdict)
{
    Batch *batch = self->batch;
    uint32_t mark = htonl(self->mark);

    if (self->answered) {
        PyErr_SetString(PyExc_RuntimeError, "the packet has its verdict already");
        return -1;
    }
    if (batch->descriptor < 0) {
        PyErr_SetString(PyExc_RuntimeError, "the queue is closed");
        return -1;
    }
    if (batch->waiting == KEPT && flush(batch) < 0)
        return -1;
    self->answered = 1;
    batch->open--;
    if (widen(batch, self, htonl(verdict), mark))
        return 0;
    /* A packet whose mark is not touched gets the one that it came with: the same length for all. */
    ((struct verdict *)batch->out)[batch->waiting++] = (struct verdict){
        .header = {.nlmsg_len = VERDICT,
                   .nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_VERDICT,
                   .nlmsg_flags = NLM_F_REQUEST},
        .generic = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = batch->number},
        .verdict_attribute = {.nla_len = 12, .nla_type = NFQA_VERDICT_HDR},
        .words = {.verdict = htonl(verdict), .id = self->id},
        .mark_attribute = {.nla_len = 8, .nla_type = NFQA_MARK},
        .mark = mark,
    };
    return batch->running ? 0 : flush(batch);
}

/* -- a packet ---------------------------------------------------------------------------------------- */

static PyObject *packet_accept(Packet *self, PyObject *unused)
{
    (void)unused;
    if (answer(self, NF_ACCEPT) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *packet_drop(Packet *self, PyObject *unused)
{
    (void)unused;
    if (answer(self, NF_DROP) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *packet_get_mark(Packet *self, PyObject *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLong(self->mark);
}

static PyObject *packet_set_mark(Packet *self, PyObject *value)
{
    unsigned long mark = PyLong_AsUnsignedLong(value);

    if (mark == (unsigned long)-1 && PyErr_Occurred())
        return NULL;
    if (mark > UINT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "a mark has 32 bits");
        return NULL;
    }
    self->mark = (uint32_t)mark;
    Py_RETURN_NONE;
}

static PyObject *packet_get_payload(Packet *self, PyObject *unused)
{
    (void)unused;
    Py_INCREF(self->payload);
    return self->payload;
}

static PyObject *packet_retain(Packet *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    Py_RETURN_NONE; /* it is kept as long as somebody refers to it */
}

static void packet_dealloc(Packet *self)
{
    Py_CLEAR(self->payload);
    Py_CLEAR(self->batch);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMethodDef packet_methods[] = {
    {"accept", (PyCFunction)packet_accept, METH_NOARGS, "Let the packet pass, with its mark."},
    {"drop", (PyCFunction)packet_drop, METH_NOARGS, "Drop the packet."},
    {"get_mark", (PyCFunction)packet_get_mark, METH_NOARGS, "Return the firewall mark."},
    {"set_mark", (PyCFunction)packet_set_mark, METH_O, "Set the mark that the packet gets with its verdict."},
    {"get_payload", (PyCFunction)packet_get_payload, METH_NOARGS, "Return the packet from its IP header on."},
    {"retain", (PyCFunction)packet_retain, METH_NOARGS, "Keep the packet: netfilterqueue's need it."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef packet_members[] = {
    {"hook", T_UBYTE, offsetof(Packet, hook), READONLY, "Netfilter's hook."},
    {"indev", T_UINT, offsetof(Packet, indev), READONLY, "Index of the interface it came by, 0 for none."},
    {NULL, 0, 0, 0, NULL},
};

static PyTypeObject PacketType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "guard.netfilter.batch.Packet",
    .tp_basicsize = sizeof(Packet),
    .tp_dealloc = (destructor)packet_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_doc = "A queued packet, with the methods of netfilterqueue's.",
    .tp_methods = packet_methods,
    .tp_members = packet_members,
};

static Packet *make_packet(Batch *batch)
{
    Packet *packet = batch->spare;

    if (packet != NULL) {
        batch->spare = NULL;
    } else {
        packet = PyObject_New(Packet, &PacketType);
        if (packet == NULL)
            return NULL;
        Py_INCREF(batch);
        packet->batch = batch;
    }
    packet->payload = NULL;
    packet->id = packet->mark = packet->indev = 0;
    packet->answered = 0;
    packet->hook = 0;
    return packet;
}

/* Nobody has kept it: it serves for the next one. */
static void put_back(Batch *batch, Packet *packet)
{
    if (Py_REFCNT(packet) == 1 && batch->spare == NULL) {
        Py_CLEAR(packet->payload);
        batch->spare = packet;
    } else {
        Py_DECREF(packet);
    }
}

/* -- a batch ----------------------------------------------------------------------------------------- */

/* Returns 0 where the message tells of no packet, -1 with an exception. */
static int read_message(Packet *packet, const struct nlmsghdr *message)
{
    const char *at = (const char *)message + NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nfgenmsg));
    const char *end = (const char *)message + message->nlmsg_len;
    const char *data = NULL;
    ptrdiff_t size = 0;
    int known = 0;

    while (end - at >= (ptrdiff_t)NLA_HDRLEN) {
        const struct nlattr *attribute = (const struct nlattr *)at;
        const char *value = at + NLA_HDRLEN;
        ptrdiff_t length = attribute->nla_len - NLA_HDRLEN;
        uint32_t word = 0;

        if (length < 0 || value + length > end)
            break;
        if (length >= 4)
            memcpy(&word, value, 4);
        switch (attribute->nla_type & NLA_TYPE_MASK) {
        case NFQA_PACKET_HDR:
            if (length >= 7) {
                packet->id = word;
                packet->hook = (uint8_t)value[6];
                known = 1;
            }
            break;
        case NFQA_MARK:
            packet->mark = ntohl(word);
            break;
        case NFQA_IFINDEX_INDEV:
            packet->indev = ntohl(word);
            break;
        case NFQA_PAYLOAD:
            data = value;
            size = length;
            break;
        }
        at += NLA_ALIGN(attribute->nla_len);
    }
    if (!known)
        return 0;
    packet->payload = PyBytes_FromStringAndSize(data, size);
    return packet->payload == NULL ? -1 : 1;
}

/* Carry out what receive() has answered. */
static int take_answer(Packet *packet, PyObject *value)
{
    long long answered = PyLong_AsLongLong(value);

    if (answered == -1 && PyErr_Occurred())
        return -1;
    if (answered == KEEP)
        return 0;
    if (answered == DROP)
        return answer(packet, NF_DROP);
    if (answered < 0 || answered > UINT32_MAX) {
        PyErr_Format(PyExc_ValueError, "%lld is no answer", answered);
        return -1;
    }
    packet->mark = (uint32_t)answered;
    return answer(packet, NF_ACCEPT);
}

/* There was no memory to ask with, or the answer was none: nobody else will answer. */
static void drop_lost(Packet *packet)
{
    PyObject *kind, *value, *trace;

    PyErr_Fetch(&kind, &value, &trace);
    if (answer(packet, NF_DROP) < 0)
        PyErr_WriteUnraisable(packet->batch->receive);
    PyErr_Restore(kind, value, trace);
}

static int hand_over(Batch *self, const struct nlmsghdr *message, PyObject *ns)
{
    Packet *packet;
    int known, done = -1;

    if (message->nlmsg_type == NLMSG_ERROR) { /* the answer to a verdict for a packet that is gone */
        self->failed++;
        return 0;
    }
    if (message->nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET))
        return 0;
    self->open++; /* one that cannot be read will never be answered */
    packet = make_packet(self);
    if (packet == NULL)
        return -1;
    known = read_message(packet, message);
    if (known > 0) {
        PyObject *mark = PyLong_FromUnsignedLong(packet->mark);
        PyObject *arguments[] = {NULL, (PyObject *)packet, mark, packet->payload, ns};
        PyObject *value = NULL;

        if (mark != NULL) {
            value = PyObject_Vectorcall(self->receive, arguments + 1, 4 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
            Py_DECREF(mark);
        }
        if (value != NULL) {
            done = take_answer(packet, value);
            Py_DECREF(value);
        }
    } else {
        done = known;
    }
    if (done < 0 && !packet->answered && Py_REFCNT(packet) == 1)
        drop_lost(packet);
    put_back(self, packet);
    return done;
}

typedef struct {
    PyObject *kind, *value, *trace;
} Raised;

/* One exception can come out of run(): the first fault, or the pause where there was none. A fault behind another
 * goes to sys.unraisablehook. */
static void keep_exception(Batch *self, Raised *kept)
{
    if (kept->kind != NULL && !PyErr_GivenExceptionMatches(kept->kind, self->pause)) {
        if (PyErr_ExceptionMatches(self->pause))
            PyErr_Clear();
        else
            PyErr_WriteUnraisable(self->receive);
        return;
    }
    Py_CLEAR(kept->kind);
    Py_CLEAR(kept->value);
    Py_CLEAR(kept->trace);
    PyErr_Fetch(&kept->kind, &kept->value, &kept->trace);
}

/* The whole chunk is handed over, whatever receive() raises: it cannot be put back. What was raised comes out
 * when that is done and the verdicts are on their way. */
static int hand_over_chunk(Batch *self, int count, PyObject *ns)
{
    Raised kept = {NULL, NULL, NULL};

    self->running = 1;
    for (int number = 0; number < count; number++) {
        struct nlmsghdr *message = (struct nlmsghdr *)self->in[number];
        int left = (int)self->headers[number].msg_len; /* signed: NLMSG_NEXT may go below zero */

        for (; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left))
            if (hand_over(self, message, ns) < 0)
                keep_exception(self, &kept);
    }
    self->running = 0;
    if (self->waiting && flush(self) < 0)
        keep_exception(self, &kept); /* the verdicts stay */
    if (kept.kind == NULL)
        return 0;
    PyErr_Restore(kept.kind, kept.value, kept.trace);
    return -1;
}

static PyObject *batch_run(Batch *self, PyObject *unused)
{
    PyObject *ns;
    int count, done;

    (void)unused;
    if (self->running) {
        PyErr_SetString(PyExc_RuntimeError, "run() was called from receive()");
        return NULL;
    }
    if (self->descriptor < 0) {
        PyErr_SetString(PyExc_RuntimeError, "the queue is closed");
        return NULL;
    }
    do {
        ns = PyObject_CallNoArgs(self->clock); /* before the packets are there: they could not be put back */
        if (ns == NULL)
            return NULL;
        count = recvmmsg(self->descriptor, self->headers, CHUNK, MSG_DONTWAIT, NULL);
        if (count < 0) {
            int error = errno;

            Py_DECREF(ns);
            errno = error;
            if (errno == EAGAIN)
                break;
            if (errno == ENOBUFS || errno == EINTR) { /* packets were lost, and the kernel counted them */
                if (PyErr_CheckSignals() < 0)
                    return NULL;
                count = CHUNK;
                continue;
            }
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        done = hand_over_chunk(self, count, ns);
        Py_DECREF(ns);
        if (done < 0)
            return NULL;
    } while (count == CHUNK);
    if (self->waiting && flush(self) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static int batch_init(Batch *self, PyObject *arguments, PyObject *names)
{
    static char *keywords[] = {"descriptor", "number", "receive", "clock", "pause", NULL};
    unsigned short number;
    int descriptor;
    PyObject *receive, *clock, *pause;

    if (!PyArg_ParseTupleAndKeywords(arguments, names, "iHOOO", keywords, &descriptor, &number, &receive, &clock,
                                     &pause))
        return -1;
    if (self->in != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "a Batch is made once");
        return -1;
    }
    self->in = PyMem_Calloc(CHUNK, ROOM);
    self->out = PyMem_Malloc(KEPT * VERDICT);
    if (self->in == NULL || self->out == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (int at = 0; at < CHUNK; at++) {
        self->parts[at] = (struct iovec){.iov_base = self->in[at], .iov_len = ROOM};
        self->headers[at].msg_hdr = (struct msghdr){.msg_iov = &self->parts[at], .msg_iovlen = 1};
    }
    self->descriptor = descriptor;
    self->number = htons(number);
    Py_INCREF(receive);
    self->receive = receive;
    Py_INCREF(clock);
    self->clock = clock;
    Py_INCREF(pause);
    self->pause = pause;
    return 0;
}

static int batch_traverse(Batch *self, visitproc visit, void *arg)
{
    Py_VISIT(self->receive);
    Py_VISIT(self->clock);
    Py_VISIT(self->pause);
    return 0;
}

static int batch_clear(Batch *self)
{
    Packet *spare = self->spare;

    self->spare = NULL;
    Py_XDECREF(spare);
    Py_CLEAR(self->receive);
    Py_CLEAR(self->clock);
    Py_CLEAR(self->pause);
    return 0;
}

static void batch_dealloc(Batch *self)
{
    PyObject_GC_UnTrack(self);
    batch_clear(self);
    PyMem_Free(self->in);
    PyMem_Free(self->out);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *batch_close(Batch *self, PyObject *unused)
{
    (void)unused;
    if (self->running) {
        PyErr_SetString(PyExc_RuntimeError, "close() was called from receive()");
        return NULL;
    }
    self->descriptor = -1;
    batch_clear(self);
    Py_RETURN_NONE;
}

static PyObject *batch_flush(Batch *self, PyObject *unused)
{
    (void)unused;
    if (self->descriptor >= 0 && self->waiting && flush(self) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef batch_methods[] = {
    {"run", (PyCFunction)batch_run, METH_NOARGS, "Receive every packet that waits."},
    {"flush", (PyCFunction)batch_flush, METH_NOARGS, "Send the verdicts that a failed send has left."},
    {"close", (PyCFunction)batch_close, METH_NOARGS, "Let go of the descriptor and of receive()."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef batch_members[] = {
    {"failed", T_ULONGLONG, offsetof(Batch, failed), READONLY, "Verdicts that the kernel would not take."},
    {NULL, 0, 0, 0, NULL},
};

static PyTypeObject BatchType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "guard.netfilter.batch.Batch",
    .tp_basicsize = sizeof(Batch),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_doc = "The packets of one bound queue.",
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)batch_init,
    .tp_dealloc = (destructor)batch_dealloc,
    .tp_traverse = (traverseproc)batch_traverse,
    .tp_clear = (inquiry)batch_clear,
    .tp_methods = batch_methods,
    .tp_members = batch_members,
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "guard.netfilter.batch",
    .m_doc = "Packets of a bound queue, many to a system call.",
    .m_size = -1,
};

PyMODINIT_FUNC PyInit_batch(void)
{
    PyObject *made;

    if (PyType_Ready(&PacketType) < 0 || PyType_Ready(&BatchType) < 0)
        return NULL;
    made = PyModule_Create(&module);
    if (made == NULL)
        return NULL;
    if (PyModule_AddObjectRef(made, "Batch", (PyObject *)&BatchType) < 0 ||
        PyModule_AddObjectRef(made, "Packet", (PyObject *)&PacketType) < 0) {
        Py_DECREF(made);
        return NULL;
    }
    return made;
}
