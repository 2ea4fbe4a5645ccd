/* A model server that costs almost nothing: it answers every POST at once with a chat completion (a message, if the path
 * ends in /messages), or, where the body asks for a stream, with events spaced apart, each its own write. A token's text
 * ends in the time at which it was due, in ns, so that whoever reads it knows how late it is.
 *
 *     upstream PORT EVENTS SPACING_NS
 *
 * Prints "ready" once it listens. It keeps connections, reads bodies with Content-Length or chunked, and checks nothing. */
#include "net.h"
#include <sys/timerfd.h>

enum { CAPACITY = 1 << 12, BATCH = 256, OUT_BYTES = 2048 };

typedef struct conn {
    int fd, sent, queued, closed;
    size_t length, capacity;
    int64_t due_ns;
    const struct format *format;
    struct conn *next;
    char *buffer; /* grows with what is sent: most requests are small, and there may be thousands */
} conn;

static int epoll, timer, events_a_stream;
static int64_t spacing_ns;
static conn *first, *last; /* streams by the time of their next event: all wait equally long, so a queue is sorted */

static const char WHOLE[] =
    "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"bench-model\","
    "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"lorem7 The interlocking proves that no two "
    "conflicting movements can be set at the same time, and the log shows that none ever was. Every signal is read "
    "before the route is set.\"},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":312,"
    "\"completion_tokens\":37,\"total_tokens\":349,\"prompt_tokens_details\":{\"cached_tokens\":0}}}";

#define CHUNK(delta, finish, usage)                                                                                    \
    "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"                    \
    "\"model\":\"bench-model\",\"system_fingerprint\":\"fp_bench\"," delta finish usage "}\n\n"
#define CHOICE(delta, finish) "\"choices\":[{\"index\":0,\"delta\":{" delta "},\"logprobs\":null,\"finish_reason\":" finish "}],"
static const char ROLE[] = CHUNK(CHOICE("\"role\":\"assistant\",\"content\":\"\"", "null"), "", "\"usage\":null");
static const char TOKEN[] = CHUNK(CHOICE("\"content\":\" lorem7 %lld\"", "null"), "", "\"usage\":null");
static const char STOP[] = CHUNK(CHOICE("", "\"stop\""), "", "\"usage\":null");
static const char USAGE[] = CHUNK("\"choices\":[],", "",
                                  "\"usage\":{\"prompt_tokens\":312,\"completion_tokens\":64,\"total_tokens\":376}");
static const char DONE[] = "data: [DONE]\n\n";

static const char MESSAGE[] =
    "{\"id\":\"msg_bench\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"bench-model\",\"content\":[{\"type\":\"text\","
    "\"text\":\"lorem7 The interlocking proves that no two conflicting movements can be set at the same time, and the log "
    "shows that none ever was. Every signal is read before the route is set.\"}],\"stop_reason\":\"end_turn\","
    "\"stop_sequence\":null,\"usage\":{\"input_tokens\":312,\"cache_creation_input_tokens\":0,"
    "\"cache_read_input_tokens\":0,\"output_tokens\":37}}";

#define NAMED(name, rest) "event: " name "\ndata: {\"type\":\"" name "\"" rest "}\n\n"
static const char START[] = NAMED(
    "message_start", ",\"message\":{\"id\":\"msg_bench\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"bench-model\","
    "\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":312,\"output_tokens\":1}}");
static const char BLOCK[] = NAMED(
    "content_block_start", ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}");
static const char DELTA[] = NAMED(
    "content_block_delta", ",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" lorem7 %lld\"}");
static const char BLOCK_STOP[] = NAMED("content_block_stop", ",\"index\":0");
static const char MESSAGE_DELTA[] = NAMED(
    "message_delta", ",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":64}");
static const char MESSAGE_STOP[] = NAMED("message_stop", "");

/* What is answered whole, and event by event: what comes before the tokens, a token, what comes after them. */
typedef struct format {
    const char *whole, *before[3], *token, *after[4];
} format;
static const format CHAT = {WHOLE, {ROLE}, TOKEN, {STOP, USAGE, DONE}};
static const format MESSAGES = {MESSAGE, {START, BLOCK}, DELTA, {BLOCK_STOP, MESSAGE_DELTA, MESSAGE_STOP}};

static void put(conn *c, const char *bytes, size_t length) {
    if (send(c->fd, bytes, length, MSG_NOSIGNAL) != (ssize_t)length) c->closed = 1; /* the kernel's buffer: never short */
}

static void put_event(conn *c, const char *head, const char *event, const char *tail) {
    char out[OUT_BYTES];
    int length = snprintf(out, sizeof out, "%s%zx\r\n%s\r\n%s", head, strlen(event), event, tail);
    put(c, out, (size_t)length);
}

static void arm(void) {
    struct itimerspec when = {0};
    if (first) when.it_value = (struct timespec){first->due_ns / 1000000000, first->due_ns % 1000000000};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void enqueue(conn *c) {
    c->due_ns = now_ns() + spacing_ns, c->next = NULL, c->queued = 1;
    if (last) last->next = c;
    else first = c;
    last = c;
    if (first == c) arm();
}

/* Event number `sent` of its format. */
static void step(conn *c) {
    static const char HEAD[] =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
    const format *f = c->format;
    char token[OUT_BYTES / 2];
    int n = c->sent++, before = 0;
    while (f->before[before]) before++;
    const char *event = n < before ? f->before[n] : token;
    const char *const *after = n < before + events_a_stream ? NULL : &f->after[n - before - events_a_stream];
    if (after) event = *after;
    else if (n >= before) snprintf(token, sizeof token, f->token, (long long)c->due_ns);
    int is_last = after && !after[1];
    put_event(c, n ? "" : HEAD, event, is_last ? "0\r\n\r\n" : "");
    if (!is_last) enqueue(c);
}

static void discard(conn *c) {
    free(c->buffer);
    free(c);
}

static void end(conn *c) { /* a queued one is freed when its turn comes */
    close(c->fd);
    c->closed = 1;
    if (!c->queued) discard(c);
}

static void on_timer(void) {
    uint64_t ignored;
    if (read(timer, &ignored, sizeof ignored) < 0 && errno != EAGAIN) die("timer");
    for (int64_t now = now_ns(); first && first->due_ns <= now;) {
        conn *c = first;
        first = c->next, c->queued = 0;
        if (!first) last = NULL;
        if (c->closed) discard(c);
        else step(c);
    }
    arm();
}

/* How long the request at the start of the buffer is; 0 while it is not all there. */
static size_t request_length(conn *c) {
    char *blank = memmem(c->buffer, c->length, "\r\n\r\n", 4);
    if (!blank) return 0;
    size_t head = (size_t)(blank - c->buffer) + 4;
    const char *value = header(c->buffer, head, "\r\ncontent-length:");
    if (value) return c->length >= head + strtoul(value, NULL, 10) ? head + strtoul(value, NULL, 10) : 0;
    if (!header(c->buffer, head, "\r\ntransfer-encoding:")) return head;
    char *stop = memmem(blank + 2, c->length - head + 2, "\r\n0\r\n\r\n", 7);
    return stop ? (size_t)(stop - c->buffer) + 7 : 0;
}

static void on_data(conn *c) {
    if (c->length == c->capacity && !(c->buffer = realloc(c->buffer, c->capacity = c->capacity ? 2 * c->capacity : CAPACITY)))
        die("realloc");
    ssize_t got = recv(c->fd, c->buffer + c->length, c->capacity - c->length, 0);
    if (got <= 0 && (got == 0 || errno != EAGAIN)) return end(c);
    c->length += got > 0 ? (size_t)got : 0;
    size_t length = request_length(c);
    if (!length) return;
    char *line = memchr(c->buffer, '\n', length);
    c->format = memmem(c->buffer, (size_t)(line - c->buffer), "/messages ", 10) ? &MESSAGES : &CHAT;
    int stream = memmem(c->buffer, length, "\"stream\":true", 13) || memmem(c->buffer, length, "\"stream\": true", 14);
    memmove(c->buffer, c->buffer + length, c->length -= length);
    if (stream) {
        c->sent = 0;
        return step(c);
    }
    char out[OUT_BYTES];
    int size = snprintf(out, sizeof out, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s",
                        strlen(c->format->whole), c->format->whole);
    put(c, out, (size_t)size);
}

int main(int argc, char **argv) {
    if (argc != 4) return fprintf(stderr, "usage: upstream PORT EVENTS SPACING_NS\n"), 2;
    events_a_stream = atoi(argv[2]), spacing_ns = atoll(argv[3]);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = loopback(atoi(argv[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 1024)) die("listen");
    epoll = epoll_create1(0), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    watch(epoll, listener, &listener);
    watch(epoll, timer, &timer);
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct epoll_event ready[BATCH];
        int count = epoll_wait(epoll, ready, BATCH, -1);
        for (int i = 0; i < count; i++) {
            if (ready[i].data.ptr == &timer) on_timer();
            else if (ready[i].data.ptr != &listener) on_data(ready[i].data.ptr);
            else {
                conn *c = calloc(1, sizeof *c);
                if ((c->fd = accept(listener, NULL, NULL)) < 0) die("accept");
                prepare(c->fd);
                watch(epoll, c->fd, c);
            }
        }
    }
}
