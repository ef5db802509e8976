/* Lets an unchanged psql come from the loopback address in FROM_ADDRESS: libpq has no setting for it, and Linux gives
 * every connection to loopback the source 127.0.0.1. Loaded by LD_PRELOAD, in the demo alone. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/socket.h>

int connect(int socket, const struct sockaddr *to, socklen_t length) {
    int (*really)(int, const struct sockaddr *, socklen_t) =
        (int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "connect");
    const char *address = getenv("FROM_ADDRESS");
    struct sockaddr_in from = {.sin_family = AF_INET};
    if (to->sa_family == AF_INET && address && inet_pton(AF_INET, address, &from.sin_addr) == 1 &&
        bind(socket, (struct sockaddr *)&from, sizeof from) != 0)
        return -1;
    return really(socket, to, length);
}
