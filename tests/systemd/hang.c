/* LD_PRELOAD it: a call that does not come back for as long as a file in /run says so.
 *
 * /run/hung-disk: no sync ends. /run/hung-loop: the main loop stands in the call with which it speaks
 * to systemd, so that it hears no signal either.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/socket.h>
#include <unistd.h>

static void hang_for(const char *file)
{
    while (access(file, F_OK) == 0) usleep(50000);
}

int fsync(int handle)
{
    int (*behind)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    hang_for("/run/hung-disk");
    return behind(handle);
}

int fdatasync(int handle)
{
    int (*behind)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    hang_for("/run/hung-disk");
    return behind(handle);
}

ssize_t sendto(int socket, const void *data, size_t length, int flags, const struct sockaddr *to,
               socklen_t to_length)
{
    ssize_t (*behind)(int, const void *, size_t, int, const struct sockaddr *, socklen_t) =
        (ssize_t (*)(int, const void *, size_t, int, const struct sockaddr *, socklen_t))dlsym(
            RTLD_NEXT, "sendto");
    hang_for("/run/hung-loop");
    return behind(socket, data, length, flags, to, to_length);
}
