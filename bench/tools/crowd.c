/* Many streams at once, and how late each of their events comes.
 *
 *     crowd PORT STREAMS EVENTS RAMP_MS SECONDS_MAX END < request
 *
 * Opens STREAMS connections evenly over RAMP_MS, sends the request on each, and reads each answer to its END. A token's
 * text is ` lorem7 DUE`, where DUE is when it was due (upstream.c): the same clock, so lateness is a difference. A stream is
 * right if its status is 200 and it held EVENTS tokens and END. Prints one JSON object; exit 1 if any stream was wrong. */
#include "net.h"

enum { CAPACITY = 1 << 13, BATCH = 1024, REQUEST_MAX = 1 << 16 };
static const char TOKEN[] = "lorem7 ";

typedef struct {
    int fd, events, status_right, ended;
    size_t length;
    char buffer[CAPACITY];
} conn;

static struct {
    int epoll, port, streams, events, opened, done, wrong, open, open_max;
    long count, lateness_max;
    int64_t *lateness_ns;
    const char *end;
    char request[REQUEST_MAX], first_error[160];
    size_t request_length;
} run;

static void open_stream(conn *c) {
    struct sockaddr_in address = loopback(run.port);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (void *)&address, sizeof address)) die("connect");
    prepare(c->fd);
    watch(run.epoll, c->fd, c);
    if (send(c->fd, run.request, run.request_length, MSG_NOSIGNAL) != (ssize_t)run.request_length) die("send");
    run.opened++;
    if (++run.open > run.open_max) run.open_max = run.open;
}

static void close_stream(conn *c) {
    int right = c->status_right && c->ended && c->events == run.events;
    if (!right && !run.wrong++) {
        snprintf(run.first_error, sizeof run.first_error, "status 200: %d, events: %d, end: %d", c->status_right, c->events, c->ended);
        if (!c->status_right) snprintf(run.first_error, sizeof run.first_error, "%.24s", c->buffer);
        for (char *p = run.first_error; *p; p++)
            if (*p < ' ' || *p == '"' || *p == '\\') *p = ' ';
    }
    run.done++, run.open--;
    close(c->fd);
}

/* Takes the tokens that are there whole, and keeps what may be the beginning of the next one. */
static void read_tokens(conn *c, int64_t now) {
    char *at = c->buffer, *stop = c->buffer + c->length;
    for (char *found; (found = memmem(at, (size_t)(stop - at), TOKEN, sizeof TOKEN - 1));) {
        char *digits = found + sizeof TOKEN - 1, *rest;
        if (!memchr(digits, '"', (size_t)(stop - digits))) break;
        int64_t late = now - strtoll(digits, &rest, 10);
        if (run.count < run.lateness_max) run.lateness_ns[run.count++] = late;
        c->events++, at = rest;
    }
    c->ended = c->ended || memmem(at, (size_t)(stop - at), run.end, strlen(run.end));
    size_t keep = (size_t)(stop - at) < 64 ? (size_t)(stop - at) : 64; /* longer than TOKEN, DUE or END */
    memmove(c->buffer, stop - keep, c->length = keep);
}

static void on_data(conn *c) {
    ssize_t got = recv(c->fd, c->buffer + c->length, CAPACITY - 1 - c->length, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return close_stream(c);
    c->length += (size_t)got, c->buffer[c->length] = 0;
    if (!c->status_right && c->length >= 12) c->status_right = !memcmp(c->buffer + 8, " 200", 4);
    if (!c->status_right) return c->length >= 12 ? close_stream(c) : (void)0;
    read_tokens(c, now_ns());
    if (c->ended) close_stream(c);
}

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static long long part(double share) {
    long at = (long)((double)run.count * share);
    return run.count ? run.lateness_ns[at < run.count ? at : run.count - 1] : 0;
}

static int report(void) {
    int unfinished = run.streams - run.done;
    qsort(run.lateness_ns, (size_t)run.count, sizeof *run.lateness_ns, ascending);
    printf("{\"streams\":%d,\"wrong\":%d,\"open_max\":%d,\"events\":%ld,\"lost\":%ld,\"p50_ns\":%lld,\"p99_ns\":%lld,"
           "\"p999_ns\":%lld,\"first_error\":\"%s\"}\n",
           run.streams, run.wrong + unfinished, run.open_max, run.count, run.streams * (long)run.events - run.count, part(.5),
           part(.99), part(.999), run.first_error);
    return run.wrong || unfinished;
}

int main(int argc, char **argv) {
    if (argc != 7) return fprintf(stderr, "usage: crowd PORT STREAMS EVENTS RAMP_MS SECONDS_MAX END\n"), 2;
    run.port = atoi(argv[1]), run.streams = atoi(argv[2]), run.events = atoi(argv[3]), run.end = argv[6];
    run.request_length = fread(run.request, 1, sizeof run.request, stdin);
    run.lateness_max = (long)run.streams * run.events;
    run.lateness_ns = calloc((size_t)run.lateness_max + 1, sizeof *run.lateness_ns);
    run.epoll = epoll_create1(0);
    conn *conns = calloc((size_t)run.streams, sizeof *conns);
    int64_t start_ns = now_ns(), step_ns = atoll(argv[4]) * 1000000 / run.streams, deadline_ns = start_ns + atoll(argv[5]) * 1000000000;
    while (run.done < run.streams && now_ns() < deadline_ns) {
        while (run.opened < run.streams && now_ns() >= start_ns + run.opened * step_ns) open_stream(&conns[run.opened]);
        struct epoll_event ready[BATCH];
        int count = epoll_wait(run.epoll, ready, BATCH, run.opened < run.streams ? 1 : 1000);
        for (int i = 0; i < count; i++) on_data(ready[i].data.ptr);
    }
    return report();
}
