/* What both tools share: the clock, non-blocking sockets on 127.0.0.1, and the framing of a message.
 *
 * Not a general HTTP parser: it reads what well-behaved proxies send, and says so when it cannot. */
#ifndef NET_H
#define NET_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static inline void die(const char *what) {
    perror(what);
    exit(2);
}

static inline int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static inline struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* Writes from here leave at once: an event a packet, as a model server sends them. */
static inline void prepare(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFL, O_NONBLOCK);
}

static inline void watch(int epoll, int fd, void *pointer) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = pointer};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
}

/* The value of a header in a head of `length` bytes, or NULL. `name` is given as "\r\nname:". */
static inline const char *header(const char *head, size_t length, const char *name) {
    size_t size = strlen(name);
    for (size_t i = 0; i + size <= length; i++)
        if (head[i] == '\r' && !strncasecmp(head + i, name, size)) {
            i += size;
            while (i < length && head[i] == ' ') i++;
            return head + i;
        }
    return NULL;
}

#endif
