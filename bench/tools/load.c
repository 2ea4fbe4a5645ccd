/* A closed loop of keep-alive connections, each sending the same request again as soon as its answer is complete and right.
 *
 *     load PORT CONNECTIONS REQUESTS SECONDS_MAX MARKER COUNT END < request
 *
 * The request is read from standard input as raw HTTP. Where it says "conversation 00000000", each request has a number of
 * its own instead of the zeros. An answer is right if its status is 200, its framing ends where it
 * should, its body holds MARKER exactly COUNT times, and END. Prints one JSON object; exit 1 if any answer was wrong. */
#include "net.h"

enum { CAPACITY = 1 << 17, REQUEST_MAX = 1 << 20, BATCH = 256, ERRORS_MAX = 50, DIGITS = 8 };
static const char CONVERSATION[] = "conversation ";

typedef struct {
    int fd, chunked;
    size_t sent;              /* bytes of the request that have left */
    size_t length, head;      /* bytes held; bytes of the head, 0 while it is incomplete */
    size_t at, body, left;    /* chunked: where to read on, where the decoded body ends, bytes left of this chunk */
    int64_t start_ns;
    char number[DIGITS + 1];
    char buffer[CAPACITY];
} conn;

static struct {
    int epoll, port, connections, marker_count;
    long requests, started, done, errors, reads, reconnects;
    const char *marker, *end;
    char request[REQUEST_MAX], first_error[240], *number; /* of the conversation; NULL: all requests are the same */
    size_t request_length;
    int64_t *latency_ns;
} run;

/* Sends what is left of the request; what the kernel does not take at once goes when it says so. */
static void send_on(conn *c) {
    int waited = c->sent > 0;
    if (run.number) memcpy(run.number, c->number, DIGITS);
    ssize_t sent = send(c->fd, run.request + c->sent, run.request_length - c->sent, MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) sent = 0;
    if (sent < 0 && errno != EPIPE && errno != ECONNRESET) die("send");
    c->sent = sent < 0 ? run.request_length : c->sent + (size_t)sent; /* closed: reading will say so */
    int waits = c->sent < run.request_length;
    if (waits == waited && !waits) return;
    struct epoll_event event = {.events = waits ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c};
    if (epoll_ctl(run.epoll, EPOLL_CTL_MOD, c->fd, &event)) die("epoll_ctl");
}

static void send_request(conn *c) {
    if (run.started++ >= run.requests) return;
    c->sent = c->length = c->head = c->at = c->body = c->left = 0;
    c->chunked = 0;
    snprintf(c->number, sizeof c->number, "%0*ld", DIGITS, run.started % 100000000);
    c->start_ns = now_ns();
    send_on(c);
}

static void dial(conn *c) {
    struct sockaddr_in address = loopback(run.port);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (void *)&address, sizeof address)) die("connect");
    prepare(c->fd);
    watch(run.epoll, c->fd, c);
}

static void redial(conn *c) {
    close(c->fd);
    dial(c);
}

static void fail(conn *c, const char *why) {
    if (!run.errors++) {
        int length = snprintf(run.first_error, sizeof run.first_error, "%s: ", why);
        size_t shown = c->length < 160 ? c->length : 160;
        memcpy(run.first_error + length, c->buffer, shown);
        for (char *p = run.first_error; *p; p++)
            if (*p < ' ' || *p == '"' || *p == '\\') *p = ' ';
    }
    redial(c);
    send_request(c);
}

/* Whether the head is there; sets the framing. -1: an answer that is wrong. */
static int read_head(conn *c) {
    char *blank = memmem(c->buffer, c->length, "\r\n\r\n", 4);
    if (!blank) return 0;
    c->head = (size_t)(blank - c->buffer) + 4;
    if (c->length < 12 || memcmp(c->buffer + 8, " 200", 4)) return -1;
    const char *length = header(c->buffer, c->head, "\r\ncontent-length:");
    if (length) c->left = strtoul(length, NULL, 10);
    else if (!header(c->buffer, c->head, "\r\ntransfer-encoding:")) return -1;
    c->chunked = !length;
    c->at = c->body = c->head;
    return 1;
}

/* Decodes the chunks that are there, in place. 1: the last one was seen, and nothing follows. */
static int read_chunks(conn *c) {
    for (;;) {
        size_t there = c->length - c->at, take = there < c->left ? there : c->left;
        memmove(c->buffer + c->body, c->buffer + c->at, take);
        c->at += take, c->body += take, c->left -= take;
        if (c->left) return 0;
        char *line = c->buffer + c->at, *stop = memmem(line, c->length - c->at, "\r\n", 2);
        if (stop == line) { /* the end of the chunk before */
            line += 2;
            stop = memmem(line, c->length - c->at - 2, "\r\n", 2);
        }
        if (!stop) return 0;
        c->left = strtoul(line, NULL, 16);
        if (!c->left) return c->buffer + c->length >= stop + 4 ? (c->buffer + c->length == stop + 4 ? 1 : -1) : 0;
        c->at = (size_t)(stop + 2 - c->buffer);
    }
}

static int body_right(const char *body, size_t length) {
    int count = 0;
    const char *stop = body + length;
    size_t size = strlen(run.marker);
    for (const char *p = body; (p = memmem(p, (size_t)(stop - p), run.marker, size)); p += size) count++;
    return count == run.marker_count && memmem(body, length, run.end, strlen(run.end));
}

static void on_data(conn *c) {
    if (c->length == CAPACITY) return fail(c, "answer too long");
    ssize_t got = recv(c->fd, c->buffer + c->length, CAPACITY - c->length, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0 && c->length) return fail(c, "closed inside an answer");
    if (got <= 0) { /* closed between answers, as HTTP allows: the request is sent again */
        run.reconnects++, run.started--;
        redial(c);
        return send_request(c);
    }
    run.reads++;
    c->length += (size_t)got;
    if (!c->head) {
        int state = read_head(c);
        if (state < 0) return fail(c, "bad head");
        if (!state) return;
    }
    int complete = c->chunked ? read_chunks(c) : (c->length >= c->head + c->left) - 2 * (c->length > c->head + c->left);
    if (complete < 0) return fail(c, "bytes after the answer");
    if (!complete) return;
    size_t length = c->chunked ? c->body - c->head : c->left;
    if (!body_right(c->buffer + c->head, length)) return fail(c, "wrong body");
    run.latency_ns[run.done++] = now_ns() - c->start_ns;
    send_request(c);
}

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int report(int64_t elapsed_ns) {
    qsort(run.latency_ns, (size_t)run.done, sizeof *run.latency_ns, ascending);
    int64_t p50 = run.done ? run.latency_ns[run.done / 2] : 0, p99 = run.done ? run.latency_ns[run.done * 99 / 100] : 0;
    long missing = run.requests - run.done - run.errors;
    printf("{\"done\":%ld,\"errors\":%ld,\"missing\":%ld,\"reconnects\":%ld,\"reads\":%ld,\"elapsed_ns\":%lld,"
           "\"p50_ns\":%lld,\"p99_ns\":%lld,\"first_error\":\"%s\"}\n",
           run.done, run.errors, missing, run.reconnects, run.reads, (long long)elapsed_ns, (long long)p50, (long long)p99,
           run.first_error);
    return run.errors || missing;
}

int main(int argc, char **argv) {
    if (argc != 8) return fprintf(stderr, "usage: load PORT CONNECTIONS REQUESTS SECONDS_MAX MARKER COUNT END\n"), 2;
    run.port = atoi(argv[1]), run.connections = atoi(argv[2]), run.requests = atol(argv[3]);
    run.marker = argv[5], run.marker_count = atoi(argv[6]), run.end = argv[7];
    run.request_length = fread(run.request, 1, sizeof run.request, stdin);
    char *said = memmem(run.request, run.request_length, CONVERSATION, sizeof CONVERSATION - 1);
    if (said && !memcmp(said + sizeof CONVERSATION - 1, "00000000", DIGITS)) run.number = said + sizeof CONVERSATION - 1;
    run.latency_ns = calloc((size_t)run.requests + 1, sizeof *run.latency_ns);
    run.epoll = epoll_create1(0);
    conn *conns = calloc((size_t)run.connections, sizeof *conns);
    for (int i = 0; i < run.connections; i++) dial(&conns[i]);
    int64_t start_ns = now_ns(), deadline_ns = start_ns + atoll(argv[4]) * 1000000000LL;
    for (int i = 0; i < run.connections; i++) send_request(&conns[i]);
    while (run.done + run.errors < run.requests && run.errors < ERRORS_MAX && now_ns() < deadline_ns) {
        struct epoll_event ready[BATCH];
        int count = epoll_wait(run.epoll, ready, BATCH, 1000);
        for (int i = 0; i < count; i++) {
            if (ready[i].events & EPOLLOUT) send_on(ready[i].data.ptr);
            if (ready[i].events & ~(uint32_t)EPOLLOUT) on_data(ready[i].data.ptr);
        }
    }
    return report(now_ns() - start_ns);
}
