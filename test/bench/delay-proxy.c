/*
 * delay-proxy UPSTREAM_PORT ROUND_TRIP_MS WINDOW_BYTES: a port of 127.0.0.1, printed on standard output, in front of another one, as
 * far away as the round trip says. Each direction waits half of it, a fresh connection a whole one more (the handshake), and of the
 * answers no more than the window is on its way or unacknowledged, so that one connection carries window / round trip. Without slow
 * start: the window is open from the first byte. Bytes wait in the receive buffer and are moved by splice(2) when they are due, once
 * in a millisecond: the proxy copies none and is cheap beside what is measured through it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNKS 8192
#define CONNECTIONS 1024

struct chunk {
  long due;
  long bytes;
};

/* A queue of chunks in the order of their time. */
struct queue {
  struct chunk chunks[CHUNKS];
  unsigned first, last;
};

struct direction {
  int from, to, pipe[2];
  /* Seen in the receive buffer and not delivered; delivered and not acknowledged. */
  struct queue held, unacknowledged;
  long held_bytes, outstanding, window;
  /* Taken out of the receive buffer, and not yet by the other side. */
  long piped;
  long not_before;
  int is_done;
};

struct connection {
  struct direction request, answer;
};

static long half_us;
static struct connection *connections[CONNECTIONS];
static int count;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static long now_us(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static int is_empty(const struct queue *queue) { return queue->first == queue->last; }
static int is_full(const struct queue *queue) { return queue->last - queue->first == CHUNKS; }

static void push(struct queue *queue, long due, long bytes) {
  queue->chunks[queue->last++ % CHUNKS] = (struct chunk){due, bytes};
}

static struct chunk *head(struct queue *queue) { return &queue->chunks[queue->first % CHUNKS]; }

static void open_direction(struct direction *direction, int from, int to, long window) {
  int buffer = (int)window * 3 / 2;
  memset(direction, 0, sizeof *direction);
  direction->from = from;
  direction->to = to;
  direction->window = window;
  if (pipe2(direction->pipe, O_NONBLOCK) < 0) fail("pipe2");
  /* One may have it smaller: more calls then. */
  fcntl(direction->pipe[0], F_SETPIPE_SZ, 1 << 20);
  if (setsockopt(from, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer) < 0) fail("SO_RCVBUF");
}

/* Notes what has come; -1 when the connection is broken. */
static int admit(struct direction *direction, long now) {
  int buffered;
  char byte;
  if (is_full(&direction->held)) return 0;
  if (ioctl(direction->from, FIONREAD, &buffered) < 0) return -1;
  if (buffered == 0 && direction->piped == 0 && !direction->is_done) {
    ssize_t bytes = recv(direction->from, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (bytes < 0 && errno != EAGAIN) return -1;
    if (bytes == 0) {
      shutdown(direction->to, SHUT_WR);
      direction->is_done = 1;
    }
    return 0;
  }
  long bytes = buffered - (direction->held_bytes - direction->piped);
  if (bytes > direction->window - direction->outstanding) bytes = direction->window - direction->outstanding;
  if (bytes <= 0) return 0;
  push(&direction->held, (now > direction->not_before ? now : direction->not_before) + half_us, bytes);
  direction->held_bytes += bytes;
  direction->outstanding += bytes;
  return 0;
}

/* Moves what is due; -1 when the connection is broken. */
static int deliver(struct direction *direction, long now) {
  struct queue *held = &direction->held, *unacknowledged = &direction->unacknowledged;
  while (!is_empty(held) && head(held)->due <= now && !is_full(unacknowledged)) {
    struct chunk *chunk = head(held);
    if (direction->piped == 0) {
      ssize_t taken = splice(direction->from, NULL, direction->pipe[1], NULL, chunk->bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
      if (taken <= 0) return -1;
      direction->piped = taken;
    }
    ssize_t bytes = splice(direction->pipe[0], NULL, direction->to, NULL, direction->piped, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (bytes < 0 && errno == EAGAIN) return 0;
    if (bytes <= 0) return -1;
    push(unacknowledged, now + half_us, bytes);
    direction->piped -= bytes;
    direction->held_bytes -= bytes;
    chunk->bytes -= bytes;
    if (chunk->bytes == 0) held->first++;
  }
  return 0;
}

static int pump(struct direction *direction, long now) {
  struct queue *unacknowledged = &direction->unacknowledged;
  for (; !is_empty(unacknowledged) && head(unacknowledged)->due <= now; unacknowledged->first++)
    direction->outstanding -= head(unacknowledged)->bytes;
  return admit(direction, now) < 0 || deliver(direction, now) < 0 ? -1 : 0;
}

static void close_connection(int index) {
  struct connection *connection = connections[index];
  close(connection->request.from);
  close(connection->request.to);
  for (int end = 0; end < 2; end++) {
    close(connection->request.pipe[end]);
    close(connection->answer.pipe[end]);
  }
  free(connection);
  connections[index] = connections[--count];
}

static void accept_all(int listener, int port, long window) {
  struct sockaddr_in upstream = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int client, on = 1;
  while (count < CONNECTIONS && (client = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
    int server = socket(AF_INET, SOCK_STREAM, 0);
    if (server < 0 || connect(server, (struct sockaddr *)&upstream, sizeof upstream) < 0) fail("connect");
    fcntl(server, F_SETFL, O_NONBLOCK);
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct connection *connection = malloc(sizeof *connection);
    if (connection == NULL) fail("malloc");
    open_direction(&connection->request, client, server, 64 * 1024);
    open_direction(&connection->answer, server, client, window);
    connection->request.not_before = now_us() + 2 * half_us;
    connections[count++] = connection;
  }
}

int main(int argc, char **argv) {
  if (argc != 4) return 64;
  int port = atoi(argv[1]);
  half_us = atol(argv[2]) * 500;
  long window = atol(argv[3]);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGPIPE, SIG_IGN);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 512) < 0) fail("listen");
  getsockname(listener, (struct sockaddr *)&address, &length);
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  for (;;) {
    struct pollfd wait = {.fd = listener, .events = POLLIN};
    poll(&wait, 1, count == 0 ? -1 : 1);
    accept_all(listener, port, window);
    for (int index = count - 1; index >= 0; index--) {
      struct connection *connection = connections[index];
      long now = now_us();
      int is_broken = pump(&connection->request, now) < 0 || pump(&connection->answer, now) < 0;
      if (is_broken || (connection->request.is_done && connection->answer.is_done)) close_connection(index);
    }
  }
}
