/* One way of depending on a file for each first argument; says what it found. Built dynamic, static and for i386. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static void show(int fd) {
    char data[64];
    ssize_t length = read(fd, data, sizeof data);
    printf("%zd ", length);
    if (length > 0) fwrite(data, 1, length, stdout);
    else printf("%d\n", length < 0 ? errno : 0);
    close(fd);
}

static int told(const char *what, long answer) {
    printf("%s %ld %d\n", what, answer < 0 ? -1 : 0, answer < 0 ? errno : 0);
    return 0;
}

static void *in_a_thread(void *path) {
    show(open(path, O_RDONLY));
    return NULL;
}

struct how { unsigned long long flags, mode, resolve; };

int main(int argc, char **argv) {
    const char *way = argc > 1 ? argv[1] : "";
    struct stat found;
    if (!strcmp(way, "open")) show(open("f", O_RDONLY));
    else if (!strcmp(way, "threads")) {
        pthread_t threads[4];
        const char *paths[] = {"f", "d/x", "none", "d"};
        for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, in_a_thread, (void *)paths[i]), pthread_join(threads[i], NULL);
    } else if (!strcmp(way, "vfork")) {
        if (vfork() == 0) { execl("/bin/cat", "cat", "f", NULL); _exit(1); }
        wait(NULL);
    } else if (!strcmp(way, "fork")) {
        if (fork() == 0) { show(open("f", O_RDONLY)); fflush(stdout); _exit(0); }
        wait(NULL);
    } else if (!strcmp(way, "mmap")) {
        int fd = open("f", O_RDONLY);
        char *data = mmap(NULL, 1, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data != MAP_FAILED) printf("%c\n", *data);
    } else if (!strcmp(way, "dirfd")) show(openat(open("d", O_RDONLY | O_DIRECTORY), "x", O_RDONLY));
    else if (!strcmp(way, "fchdir")) { told("fchdir", fchdir(open("d", O_RDONLY))); show(open("x", O_RDONLY)); }
    else if (!strcmp(way, "dotdot")) { told("chdir", chdir("d")); show(open("../f", O_RDONLY)); }
    else if (!strcmp(way, "path")) {
        int fd = open("f", O_PATH);
        char name[64];
        sprintf(name, "/proc/self/fd/%d", fd);
        show(open(name, O_RDONLY));
    } else if (!strcmp(way, "path-stat")) { told("fstat", fstat(open("f", O_PATH), &found)); printf("%lld\n", (long long)found.st_size); }
    else if (!strcmp(way, "openat2")) {
        struct how how = {O_RDONLY, 0, 8 /* RESOLVE_BENEATH */};
        show(syscall(437, AT_FDCWD, "d/x", &how, sizeof how));
    } else if (!strcmp(way, "execveat")) {
        char *args[] = {"tool", NULL};
        syscall(SYS_execveat, open(".", O_PATH), "tool", args, NULL, 0);
        told("execveat", -1);
    } else if (!strcmp(way, "fexecve")) {
        char *args[] = {"tool", NULL}, *none[] = {NULL};
        fexecve(open("tool", O_PATH), args, none);
        told("fexecve", -1);
    } else if (!strcmp(way, "handle")) {
        struct { struct file_handle head; char room[128]; } handle = {.head.handle_bytes = 128};
        int mount;
        told("handle", name_to_handle_at(AT_FDCWD, "f", &handle.head, &mount, 0));
    } else if (!strcmp(way, "statx")) {
        struct statx x;
        told("statx", statx(AT_FDCWD, "f", AT_STATX_DONT_SYNC, STATX_ALL, &x));
        printf("%llu %o\n", (unsigned long long)x.stx_size, x.stx_mode);
    } else if (!strcmp(way, "empty-path")) {
        told("fstatat", fstatat(open("f", O_PATH), "", &found, AT_EMPTY_PATH));
        printf("%o\n", found.st_mode);
    } else if (!strcmp(way, "access")) told("access", access("none", F_OK));
    else if (!strcmp(way, "access-x")) told("access", access("f", X_OK));
    else if (!strcmp(way, "faccessat2")) told("faccessat2", syscall(439, AT_FDCWD, "none", F_OK, 0));
    else if (!strcmp(way, "telldir")) {
        DIR *dir = opendir("d");
        readdir(dir);
        long at = telldir(dir);
        int count = 0;
        while (readdir(dir)) count++;
        seekdir(dir, at);
        while (readdir(dir)) count++;
        printf("%d\n", count);
    } else if (!strcmp(way, "tmpfile")) {
        int fd = open("d", O_TMPFILE | O_RDWR, 0644);
        char name[64];
        sprintf(name, "/proc/self/fd/%d", fd);
        told("linkat", linkat(AT_FDCWD, name, AT_FDCWD, "d/made", AT_SYMLINK_FOLLOW));
    } else if (!strcmp(way, "exchange")) told("exchange", syscall(SYS_renameat2, AT_FDCWD, "f", AT_FDCWD, "g", 2));
    else if (!strcmp(way, "no-replace")) told("rename", syscall(SYS_renameat2, AT_FDCWD, "f", AT_FDCWD, "none", 1));
    else if (!strcmp(way, "inotify")) told("watch", inotify_add_watch(inotify_init(), "d/x", IN_ALL_EVENTS));
    else if (!strcmp(way, "sendfile")) { fflush(stdout); told("sendfile", sendfile(1, open("f", O_RDONLY), NULL, 10)); }
    else if (!strcmp(way, "copy-range")) told("copied", copy_file_range(open("f", O_RDONLY), NULL, open("made", O_CREAT | O_WRONLY, 0644), NULL, 10, 0));
    else if (!strcmp(way, "splice")) {
        int pipes[2];
        pipe(pipes);
        told("splice", splice(open("f", O_RDONLY), NULL, pipes[1], NULL, 10, 0));
        show(pipes[0]);
    } else if (!strcmp(way, "io-uring")) {
        char params[256] = {0};
        told("io_uring", syscall(425, 4, params));
        show(open("f", O_RDONLY));
    } else if (!strcmp(way, "xattr")) { char value[16]; told("getxattr", getxattr("f", "user.k", value, sizeof value)); }
    else if (!strcmp(way, "set-xattr")) told("setxattr", setxattr("f", "user.k", "v", 1, 0));
    else if (!strcmp(way, "readlinkat")) { char to[64] = {0}; told("readlinkat", readlinkat(open(".", O_PATH), "l", to, 63)); puts(to); }
    else if (!strcmp(way, "truncate")) told("truncate", truncate("f", 1));
    else if (!strcmp(way, "utimes")) told("utimensat", utimensat(AT_FDCWD, "f", NULL, 0));
    else if (!strcmp(way, "unlinkat")) told("unlinkat", unlinkat(open("d", O_PATH), "x", 0));
    else if (!strcmp(way, "rw")) { int fd = open("f", O_RDWR); told("write", pwrite(fd, "z", 1, 3)); }
    else if (!strcmp(way, "mmap-write")) {
        int fd = open("f", O_RDWR);
        char *data = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (data != MAP_FAILED) *data = 'q';
        told("msync", msync(data, 1, MS_SYNC));
    } else if (!strcmp(way, "mkfifo")) told("mkfifo", mkfifo("none", 0644));
    else if (!strcmp(way, "bind")) {
        struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "none"};
        told("bind", bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&address, sizeof address));
    } else if (!strcmp(way, "chroot")) { told("chroot", chroot(".")); show(open("/f", O_RDONLY)); }
    else if (!strcmp(way, "setuid")) { told("setuid", setuid(1234)); show(open("f", O_RDONLY)); }
    else if (!strcmp(way, "passed")) {
        int pair[2], fd = open("f", O_RDONLY), got;
        char room[CMSG_SPACE(sizeof fd)] = {0}, byte = 0;
        struct iovec part = {&byte, 1};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
        socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET, head->cmsg_type = SCM_RIGHTS, head->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(head), &fd, sizeof fd);
        told("sent", sendmsg(pair[0], &message, 0));
        close(fd);
        recvmsg(pair[1], &message, 0);
        memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof got);
        show(got);
    } else return 2;
    return 0;
}
