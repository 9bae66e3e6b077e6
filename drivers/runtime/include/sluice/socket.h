/* sluice/socket.h: the BSD socket calls on sluice's own TCP/IP, for C and C++.
 *
 * Each call is the one of the same name without the prefix: system types, -1 and errno, blocking unless the descriptor
 * is non-blocking. A socket program ports by renaming. Descriptors are numbers from SL_FD_BASE up, so they cannot be
 * mistaken for the kernel's. sl_poll(), sl_select() and sl_epoll_wait() take both kinds together; sl_read(),
 * sl_write(), sl_readv(), sl_writev(), sl_close(), sl_dup(), sl_fcntl() and sl_ioctl() of one of the kernel's are the
 * kernel's calls. Any number of threads may call, on one descriptor or on many. Differences to Linux:
 * - a thread blocked on a descriptor that another thread closes gets EBADF, sl_poll() POLLNVAL;
 * - a signal handler that runs in a blocked thread ends its wait with EINTR, even one installed with SA_RESTART;
 * - no SIGPIPE, only EPIPE;
 * - the descriptors of one sl_poll() belong to one runtime, that of the first open one; others give POLLNVAL;
 * - a set of sl_epoll_create1() is for the runtime's sockets and the kernel's descriptors, not for another such set.
 * docs/SOCKETS.md has the rest.
 * The calls act on the runtime that sl_use() chose for this thread, or else on the first one opened in the process.
 */
#pragma once

#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SL_FD_BASE (1 << 20)

typedef struct sl_runtime sl_runtime; /* a stack with its device, clock and lock; see sluice/runtime.hpp */

void sl_use(sl_runtime* runtime); /* for this thread; NULL: back to the first one opened */

int sl_socket(int domain, int type, int protocol); /* type may carry SOCK_NONBLOCK; ICMP echo: SOCK_DGRAM, IPPROTO_ICMP;
                                                      raw: SOCK_RAW; frames: AF_PACKET */
int sl_bind(int fd, const struct sockaddr* address, socklen_t length);
int sl_listen(int fd, int backlog);
int sl_accept(int fd, struct sockaddr* address, socklen_t* length);
int sl_accept4(int fd, struct sockaddr* address, socklen_t* length, int flags);
int sl_connect(int fd, const struct sockaddr* address, socklen_t length);
ssize_t sl_send(int fd, const void* data, size_t size, int flags);
ssize_t sl_recv(int fd, void* data, size_t size, int flags);
ssize_t sl_sendto(int fd, const void* data, size_t size, int flags, const struct sockaddr* to, socklen_t length);
ssize_t sl_recvfrom(int fd, void* data, size_t size, int flags, struct sockaddr* from, socklen_t* length);
ssize_t sl_sendmsg(int fd, const struct msghdr* message, int flags);
ssize_t sl_recvmsg(int fd, struct msghdr* message, int flags); /* also MSG_ERRQUEUE */
ssize_t sl_read(int fd, void* data, size_t size);
ssize_t sl_write(int fd, const void* data, size_t size);
ssize_t sl_readv(int fd, const struct iovec* pieces, int count);
ssize_t sl_writev(int fd, const struct iovec* pieces, int count);
int sl_shutdown(int fd, int how);
int sl_close(int fd);
int sl_getsockname(int fd, struct sockaddr* address, socklen_t* length);
int sl_getpeername(int fd, struct sockaddr* address, socklen_t* length);
int sl_setsockopt(int fd, int level, int name, const void* value, socklen_t length);
int sl_getsockopt(int fd, int level, int name, void* value, socklen_t* length);
int sl_dup(int fd);
int sl_poll(struct pollfd* fds, nfds_t count, int timeout_ms);
int sl_ppoll(struct pollfd* fds, nfds_t count, const struct timespec* timeout, const sigset_t* signals);
int sl_fcntl(int fd, int command, long argument); /* F_GETFL, F_SETFL with O_NONBLOCK */
/* FIONREAD, FIONBIO, SIOCATMARK, SIOCOUTQ, SIOCOUTQNSD, SIOCGIFCONF, SIOCGIFADDR and others of netdevice(7) */
int sl_ioctl(int fd, unsigned long request, void* argument);

int sl_sendmmsg(int fd, struct mmsghdr* messages, unsigned count, int flags);
int sl_recvmmsg(int fd, struct mmsghdr* messages, unsigned count, int flags, struct timespec* timeout);

/* --- epoll: level and edge, EPOLLONESHOT, EPOLLEXCLUSIVE. sl_poll() takes such a set too; sl_close() closes it --- */
int sl_epoll_create1(int flags);
int sl_epoll_ctl(int set, int operation, int fd, struct epoll_event* event);
int sl_epoll_wait(int set, struct epoll_event* events, int room, int timeout_ms);
int sl_epoll_pwait(int set, struct epoll_event* events, int room, int timeout_ms, const sigset_t* signals);

/* --- select, with a set of its own: fd_set has no place for our numbers. The first SL_SETSIZE of each kind --- */
#define SL_SETSIZE 1024
typedef struct sl_fd_set {
  uint64_t kernel[SL_SETSIZE / 64];
  uint64_t ours[SL_SETSIZE / 64]; /* from SL_FD_BASE up */
} sl_fd_set;
void SL_FD_ZERO(sl_fd_set* set);
void SL_FD_SET(int fd, sl_fd_set* set); /* of a number that has no place: nothing */
void SL_FD_CLR(int fd, sl_fd_set* set);
int SL_FD_ISSET(int fd, const sl_fd_set* set);
/* `count` is one more than the largest number, of either kind. The timeout is not changed. */
int sl_select(int count, sl_fd_set* readable, sl_fd_set* writable, sl_fd_set* exceptional, struct timeval* timeout);

/* --- names. A host's is looked up in the hosts file, and by DNS over this stack (Options::hosts, Options::resolver);
 * IPv4 addresses only. Free with sl_freeaddrinfo(). Services and the host's own name are the system's. --- */
int sl_getaddrinfo(const char* host, const char* service, const struct addrinfo* hints, struct addrinfo** found);
void sl_freeaddrinfo(struct addrinfo* found);
int sl_getnameinfo(const struct sockaddr* address, socklen_t length, char* host, socklen_t host_room, char* service,
                   socklen_t service_room, int flags);

struct hostent* sl_gethostbyname(const char* name); /* of this thread, until its next call */
struct servent* sl_getservbyname(const char* name, const char* protocol);
struct servent* sl_getservbyport(int port, const char* protocol);
int sl_gethostname(char* name, size_t room);
unsigned sl_if_nametoindex(const char* name); /* sl1, sl2 ...; lo */
char* sl_if_indextoname(unsigned index, char* name);

int sl_eventfd(unsigned count, int flags); /* the kernel's: wakes a thread in any of our waits */

/* --- without a copy ---
 * A buffer of the stack's memory in the application's hands: received bytes, or room for bytes to send. It belongs to
 * the application alone, to read and to write, until it is returned or committed. It stays valid until then, whatever
 * becomes of the descriptor, its connection and its runtime; returning it is right at any time. Buffers that are never
 * returned are lost to the stack, whose memory has a limit.
 * Further errors: EINVAL for a flag that is not named here, and for a buffer that is not in the application's hands:
 * returned or committed before, or in another thread's call just now. EOPNOTSUPP: not for this kind of socket. */
struct sl_buffer {
  void* data;
  size_t size;   /* bytes */
  uint64_t loan; /* its name; 0: there is nothing to return */
};
#define SL_SEND_BUFFER_SIZE 65536

/* sl_recv(): blocks, returns and fails as it does, but *buffer views the next bytes where they were received, at most
 * as many as came in one frame. 0, and nothing lent: the end of the stream, or an empty datagram. TCP and UDP. Bytes
 * lent count as read, but take up the receive buffer until they are returned: then the window opens. flags:
 * MSG_DONTWAIT */
ssize_t sl_recv_lend(int fd, struct sl_buffer* buffer, int flags);
ssize_t sl_recvfrom_lend(int fd, struct sl_buffer* buffer, int flags, struct sockaddr* from, socklen_t* length);

/* SL_SEND_BUFFER_SIZE bytes for sl_send_commit(), with whatever the memory held before. Never blocks. TCP.
 * ENOBUFS: the stack's memory is used up. */
int sl_send_borrow(int fd, struct sl_buffer* buffer);
/* sl_send() of the buffer's first `size` bytes: blocks and fails as it does, but takes all of them (the send buffer is
 * exceeded by less than one buffer) and the buffer with them. After a failure, EAGAIN also, the buffer is still
 * borrowed. Fewer than 16 KiB may be copied to follow what is queued. flags: MSG_DONTWAIT, MSG_MORE, MSG_NOSIGNAL.
 * EINVAL also: size is 0 or too large; the buffer is lent, not borrowed, or from another runtime than fd. */
ssize_t sl_send_commit(int fd, const struct sl_buffer* buffer, size_t size, int flags);

int sl_buffer_return(const struct sl_buffer* buffer); /* lent, or borrowed and not to be sent; with loan 0: nothing */

#ifdef __cplusplus
}
#endif
