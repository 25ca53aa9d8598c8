/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The wire: all that the library and a VMM have in common. Messages over a SOCK_SEQPACKET socket, each a header and
 * fields of tag, length and data; and the page of counters that a VMM shares.
 *
 * Either side may be of another version. Fields and types are only ever added; a receiver skips fields that it does
 * not know, and answers a request that it does not know with WIRE_UNSUPPORTED.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WIRE_VERSION = 1, WIRE_SIZE = 8192, WIRE_DESCRIPTORS = 8, WIRE_TEXT = 512, WIRE_CPU_SET = 128 };

/* What a machine may have at most; memory comes in pages. Queues are of a disk or a NIC. */
enum { WIRE_CPUS = 64, WIRE_PAGE = 4096, WIRE_QUEUES = WIRE_DESCRIPTORS };
#define WIRE_MEMORY (UINT64_C(512) << 30)

/* What is asked of a VMM, in any order but for the first: a machine is described, then booted. */
enum wire_type {
    WIRE_MACHINE = 1, /* MEMORY, CPUS, and of a socket CORES, of a core THREADS; CPUID */
    WIRE_KERNEL = 2,  /* descriptor: the image; KIND, CMDLINE, and for flat ones ADDRESS and MODE */
    WIRE_INITRD = 3,  /* descriptor: the file. Several are the modules of multiboot; CMDLINE */
    WIRE_SERIAL = 4, /* descriptor: a file that gets what the guest says, or a socket to accept one at a time; KIND */
    WIRE_DEBUG = 5,  /* ADDRESS: the debug exit is at this port; descriptor: a file for the debug console */
    WIRE_BOOT = 6,   /* PAUSED */
    WIRE_COMMIT = 61, /* the VM is where others find it: from now on it outlives whoever started it */
    WIRE_PAUSE = 7,
    WIRE_RESUME = 8,
    WIRE_RESET = 9,
    WIRE_BUTTON = 10,  /* the power button is pressed */
    WIRE_STOP = 11,    /* the VMM ends */
    WIRE_CONSOLE = 12, /* FORCE, NAME of a virtio one; the reply brings a descriptor of the console */
    WIRE_WATCH = 13,   /* events follow here; the reply: STATE, SANDBOX, and the descriptor of the counters */
    WIRE_DISK = 14,    /* descriptor: the file; NAME, READONLY, SERIAL_NUMBER, DISCARD, QUEUES, LIMITS */
    WIRE_NIC = 15, /* descriptor: a tap device, or one for each of its queues, or a stream; NAME, MAC, KIND, LIMITS */
    WIRE_LOOK = 16,    /* the reply: STATE, REASON, SANDBOX, DEVICES */
    WIRE_BALLOON = 18, /* MEMORY: how much the guest is to have; the first, before the boot, makes the balloon */
    WIRE_RNG = 19,     /* random numbers from the host */
    WIRE_UNPLUG = 20,  /* NAME, such as disk.root; FORCE: at once, if the guest has not looked at it yet */
    WIRE_VSOCK = 50,   /* descriptor: a socket that listens, for programs of the host; CID */
    WIRE_PIN = 32,     /* CPU, CPU_SET: the host's CPUs that this vCPU may run on */
    WIRE_VIRTIO_CONSOLE = 40, /* NAME; and as WIRE_SERIAL, or no descriptor where a program will open it */
    WIRE_MMIO = 41,           /* before any device: there is no PCI, and all of them are virtio over memory */
    WIRE_LIMIT = 60,          /* NAME, such as disk.root; LIMITS: these hold from now on */
    WIRE_POLICY = 17,         /* ON_CRASH, ON_SHUTDOWN, ON_REBOOT: what becomes of the VM; those absent stay */

    /* What a VMM sends: one reply to each request, with its id, and events, whose id is 0. */
    WIRE_DONE = 0x100,
    WIRE_FAILED = 0x101,    /* CODE, MESSAGE, PROPERTY */
    WIRE_STATE = 0x102,     /* STATE, REASON */
    WIRE_UNPLUGGED = 0x103, /* NAME: the guest let go of it, and it is gone */
    WIRE_LOST = 0x104       /* NAME: what it is attached to is gone, and it is of no use any more */
};

enum wire_tag {
    WIRE_T_MEMORY = 1,
    WIRE_T_CPUS = 2,
    WIRE_T_KIND = 3,
    WIRE_T_CMDLINE = 4,
    WIRE_T_ADDRESS = 5,
    WIRE_T_MODE = 6,
    WIRE_T_PAUSED = 7,
    WIRE_T_FORCE = 8,
    WIRE_T_NAME = 9,
    WIRE_T_READONLY = 10,
    WIRE_T_SERIAL_NUMBER = 11,
    WIRE_T_DISCARD = 12,
    WIRE_T_MAC = 13,
    WIRE_T_CODE = 14,
    WIRE_T_MESSAGE = 15,
    WIRE_T_PROPERTY = 16,
    WIRE_T_STATE = 17,
    WIRE_T_REASON = 18,
    WIRE_T_SANDBOX = 19,
    WIRE_T_QUEUES = 20,
    WIRE_T_ON_CRASH = 21,
    WIRE_T_ON_SHUTDOWN = 22,
    WIRE_T_ON_REBOOT = 23,
    WIRE_T_CID = 60,
    WIRE_T_CPU = 40,
    WIRE_T_CPU_SET = 41, /* WIRE_CPU_SET bytes, a bit for each CPU from the lowest on */
    WIRE_T_CORES = 65,
    WIRE_T_THREADS = 66,
    WIRE_T_CPUID = 67,   /* KVM's struct kvm_cpuid2, as KVM_GET_SUPPORTED_CPUID tells; absent, the VMM asks itself */
    WIRE_T_DEVICES = 24, /* the names of those that can be unplugged, a line each */
    WIRE_T_LIMITS = 75 /* numbers of 64 bits, as WIRE_LIMIT_… counts them; those that are 0, or beyond its end, are no
                          limit */
};

/* WIRE_T_LIMITS of a disk, and of a NIC: operations and bytes a second, and bytes at once. */
enum {
    WIRE_LIMIT_OPS,
    WIRE_LIMIT_OPS_READ,
    WIRE_LIMIT_OPS_WRITE,
    WIRE_LIMIT_BYTES,
    WIRE_LIMIT_BYTES_READ,
    WIRE_LIMIT_BYTES_WRITE,
    WIRE_LIMITS
};
enum { WIRE_LIMIT_INBOUND, WIRE_LIMIT_INBOUND_BURST, WIRE_LIMIT_OUTBOUND, WIRE_LIMIT_OUTBOUND_BURST };

/* WIRE_T_KIND: what the kernel's file is; the VMM looks at its content but where it is flat. */
enum { WIRE_KERNEL_ANY = 0, WIRE_KERNEL_FLAT = 1 };
/* WIRE_T_KIND of a NIC: a stream has each packet after its length in four bytes, the highest first. */
enum { WIRE_NIC_TAP = 0, WIRE_NIC_STREAM = 1 };
/* WIRE_T_KIND of a console. */
enum { WIRE_SERIAL_FILE = 0, WIRE_SERIAL_LISTENER = 1 };
/* WIRE_T_MODE: how the first CPU enters a flat binary. */
enum { WIRE_MODE_REAL = 0, WIRE_MODE_PROTECTED = 1, WIRE_MODE_LONG = 2, WIRE_MODE_USER = 3 };

/* WIRE_T_CODE: why a request failed. */
enum {
    WIRE_UNSUPPORTED = 1, /* not known, or the host's kernel cannot */
    WIRE_VALUE = 2,       /* what was given is wrong */
    WIRE_WRONG_STATE = 3,
    WIRE_BUSY = 4,
    WIRE_HOST = 5,  /* the host's kernel refused */
    WIRE_ABSENT = 6 /* what was named is not there */
};

/* What becomes of it. */
enum { WIRE_DO_STOP = 0, WIRE_DO_RESTART = 1, WIRE_DO_KEEP = 2 };

/* WIRE_T_STATE, and in the counters. The process ends with those that say so; one that is kept has crashed. */
enum {
    WIRE_NEW = 0,
    WIRE_RUNNING = 1,
    WIRE_PAUSED = 2,
    WIRE_STOPPING = 3,
    WIRE_ENDED = 4,
    WIRE_CRASHED = 5,
    WIRE_KEPT = 6
};

struct wire_header {
    uint16_t version;
    uint16_t type;
    uint32_t id;
};

/* The data follows, padded to a multiple of eight bytes. */
struct wire_field {
    uint32_t tag;
    uint32_t length;
};

struct wire_message {
    uint32_t size;
    uint32_t descriptor_count;
    int      descriptors[WIRE_DESCRIPTORS]; /* borrowed when sending, the receiver's when received */
    _Alignas(8) uint8_t bytes[WIRE_SIZE];
};

/*
 * The counters: one page that the VMM alone writes, then one line for each vCPU and device. A reader takes sequence,
 * which is even, reads, and begins anew when it has changed.
 */
#define WIRE_STATS_MAGIC UINT32_C(0x534d4856)
enum { WIRE_STATS_NAME = 64, WIRE_STATS_LINES = 192, WIRE_LINE_VCPU = 1, WIRE_LINE_DISK = 2, WIRE_LINE_NIC = 3 };

enum { WIRE_GUEST_VALUES = 10, WIRE_IN = 0, WIRE_OUT = 1, WIRE_DIRECTIONS = 2 };

struct wire_line {
    uint32_t kind; /* WIRE_LINE_…; 0: free */
    char     name[WIRE_STATS_NAME - 4];
    uint64_t values[8];
};

struct wire_stats {
    uint32_t         magic;
    uint32_t         version;
    uint32_t         sequence;
    int32_t          state;
    uint64_t         memory;
    uint64_t         balloon; /* bytes that the guest gave back */
    uint32_t         cpus;
    uint32_t         line_count;
    char             reason[WIRE_TEXT]; /* why it ended or crashed */
    struct wire_line lines[WIRE_STATS_LINES];
    uint32_t         guest_known; /* bits of those that the guest tells */
    uint32_t         reserved;
    uint64_t         guest[WIRE_GUEST_VALUES]; /* as virtio numbers the balloon's statistics */
    /* How long limits held a device back whose line has this number: what it reads or gets, what it writes or sends.
     */
    uint64_t stalled_ns[WIRE_STATS_LINES][WIRE_DIRECTIONS];
};

/* wire_line.values of a vCPU, a disk, a NIC. */
enum { WIRE_VCPU_EXITS, WIRE_VCPU_TIME_NS };
enum {
    WIRE_DISK_READ_BYTES,
    WIRE_DISK_READS,
    WIRE_DISK_WRITTEN_BYTES,
    WIRE_DISK_WRITES,
    WIRE_DISK_FLUSHES,
    WIRE_DISK_ERRORS,
    WIRE_DISK_CAPACITY
};
enum {
    WIRE_NIC_RX_BYTES,
    WIRE_NIC_RX_PACKETS,
    WIRE_NIC_RX_DROPS,
    WIRE_NIC_TX_BYTES,
    WIRE_NIC_TX_PACKETS,
    WIRE_NIC_TX_DROPS
};

static inline void wire_begin(struct wire_message *message, uint16_t type, uint32_t id)
{
    const struct wire_header header = {WIRE_VERSION, type, id};

    message->descriptor_count = 0;
    message->size = sizeof(header);
    memcpy(message->bytes, &header, sizeof(header));
}

static inline struct wire_header wire_header(const struct wire_message *message)
{
    struct wire_header header;

    memcpy(&header, message->bytes, sizeof(header));
    return header;
}

/* A message that would get too long stays as it is: false. */
static inline bool wire_put(struct wire_message *message, uint32_t tag, const void *data, size_t length)
{
    const struct wire_field field = {tag, (uint32_t)length};
    const size_t            padded = (length + 7) & ~(size_t)7;

    if (length > WIRE_SIZE || message->size + sizeof(field) + padded > WIRE_SIZE)
        return false;
    memcpy(message->bytes + message->size, &field, sizeof(field));
    memset(message->bytes + message->size + sizeof(field), 0, padded);
    memcpy(message->bytes + message->size + sizeof(field), data, length);
    message->size += (uint32_t)(sizeof(field) + padded);
    return true;
}

static inline bool wire_put_u64(struct wire_message *message, uint32_t tag, uint64_t value)
{
    return wire_put(message, tag, &value, sizeof(value));
}

/* With its NUL. */
static inline bool wire_put_text(struct wire_message *message, uint32_t tag, const char *text)
{
    return wire_put(message, tag, text, strlen(text) + 1);
}

static inline bool wire_put_descriptor(struct wire_message *message, int descriptor)
{
    if (message->descriptor_count == WIRE_DESCRIPTORS)
        return false;
    message->descriptors[message->descriptor_count++] = descriptor;
    return true;
}

/* The data of the first field with this tag, or NULL. */
static inline const void *wire_find(const struct wire_message *message, uint32_t tag, uint32_t *length)
{
    struct wire_field field;
    size_t            at = sizeof(struct wire_header);

    while (at + sizeof(field) <= message->size) {
        memcpy(&field, message->bytes + at, sizeof(field));
        at += sizeof(field);
        if (field.length > message->size - at)
            return NULL;
        if (field.tag == tag) {
            *length = field.length;
            return message->bytes + at;
        }
        at += ((size_t)field.length + 7) & ~(size_t)7;
    }
    return NULL;
}

/* What is absent or of another size is the fallback. */
static inline uint64_t wire_u64(const struct wire_message *message, uint32_t tag, uint64_t fallback)
{
    uint32_t    length = 0;
    const void *data = wire_find(message, tag, &length);

    if (data && length == sizeof(fallback))
        memcpy(&fallback, data, sizeof(fallback));
    return fallback;
}

/* Within the message; NULL when it is absent or does not end with its only NUL. */
static inline const char *wire_text(const struct wire_message *message, uint32_t tag)
{
    uint32_t    length = 0;
    const char *text = (const char *)wire_find(message, tag, &length);

    return text && length && memchr(text, 0, length) == text + length - 1 ? text : NULL;
}

/* Takes the first descriptor, which is then the caller's; -1 when there is none. */
static inline int wire_take_descriptor(struct wire_message *message)
{
    int descriptor;

    if (!message->descriptor_count)
        return -1;
    descriptor = message->descriptors[0];
    message->descriptor_count--;
    memmove(message->descriptors, message->descriptors + 1, message->descriptor_count * sizeof(int));
    return descriptor;
}

static inline void wire_close_descriptors(struct wire_message *message)
{
    for (int descriptor = wire_take_descriptor(message); descriptor >= 0; descriptor = wire_take_descriptor(message))
        close(descriptor);
}

/* false with errno; flags are those of sendmsg(). */
static inline bool wire_send(int socket, const struct wire_message *message, int flags)
{
    union {
        struct cmsghdr header;
        char           space[CMSG_SPACE(sizeof(int) * WIRE_DESCRIPTORS)];
    } control;
    struct iovec  data = {(void *)(uintptr_t)message->bytes, message->size};
    struct msghdr envelope = {.msg_iov = &data, .msg_iovlen = 1};
    const size_t  size = sizeof(int) * message->descriptor_count;
    ssize_t       sent;

    if (message->descriptor_count) {
        memset(&control, 0, sizeof(control));
        control.header =
            (struct cmsghdr){.cmsg_len = CMSG_LEN(size), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), message->descriptors, size);
        envelope.msg_control = &control;
        envelope.msg_controllen = CMSG_SPACE(size);
    }
    do {
        sent = sendmsg(socket, &envelope, flags | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)message->size;
}

static inline void wire_take_control(struct wire_message *message, struct msghdr *envelope)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(envelope); c; c = CMSG_NXTHDR(envelope, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        message->descriptor_count = (uint32_t)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(message->descriptors, CMSG_DATA(c), message->descriptor_count * sizeof(int));
    }
}

/*
 * 1: a message. 0: the other side is gone. -1 with errno; EBADMSG: it was none that can be read. Descriptors come
 * close-on-exec.
 */
static inline int wire_receive(int socket, struct wire_message *message, int flags)
{
    union {
        struct cmsghdr header;
        char           space[CMSG_SPACE(sizeof(int) * WIRE_DESCRIPTORS)];
    } control;
    struct iovec  data = {message->bytes, WIRE_SIZE};
    struct msghdr envelope = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    ssize_t got;

    message->descriptor_count = 0;
    do {
        got = recvmsg(socket, &envelope, flags | MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got <= 0)
        return (int)got;
    wire_take_control(message, &envelope);
    message->size = (uint32_t)got;
    if ((size_t)got >= sizeof(struct wire_header) && !(envelope.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        return 1;
    wire_close_descriptors(message);
    errno = EBADMSG;
    return -1;
}
