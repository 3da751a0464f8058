/* What differs from system to system: when a folder changed, how a name is given exclusively, and what concerns the disk.
 *
 * It uses nothing of Python, so that it runs without the GIL and compiles alone. First come the functions that each system
 * has: Windows, all POSIX systems, Linux, macOS. The last section says which of them each system lacks.
 */
#ifndef NEURALIB_PERSISTENCE_PORT_H
#define NEURALIB_PERSISTENCE_PORT_H

#include "_system.h"

#include <stddef.h>
#include <string.h>
#include <wchar.h>

#define NLP_CHANGED (-2)

/* By what it is seen whether names in a folder came or went: which folder it is, between which two times it changed last,
 * and its size, which on many file systems grows with each name. */
typedef struct {
    unsigned long long device, inode;
    long long earliest, latest; /* nanoseconds, both possible; no time lies between them where nothing is known */
    long long size;             /* -1 where it does not tell */
    long long growth;           /* by what the last publication made it larger; 0 where it did not */
    int clock_agrees;           /* whether the file system takes its times from this machine's clock */
} np_stamp;

/* What is known of a file that was opened. */
typedef struct {
    long long size;
    int mode;
    unsigned owner;
} np_status;

static void np_forget_stamp(np_stamp *stamp)
{
    memset(stamp, 0, sizeof *stamp);
    stamp->latest = -1;
}

/* Whether a look that gave `now` shows the folder as it was when `before` was noted. Where time advances in steps of
 * milliseconds and the size does not tell, two changes in one step look like one. */
static int np_is_unchanged(const np_stamp *before, const np_stamp *now)
{
    return before->earliest <= now->earliest && now->latest <= before->latest && before->inode == now->inode &&
           before->device == now->device && (before->size < 0 || before->size == now->size);
}

/* ---------------------------------------------------------------------------------------------------------- Windows */
#ifdef _WIN32

#include <io.h>

static void np_close(int fd)
{
    _close(fd);
}

/* Take a descriptor out of where it is kept, and leave -1 there, so that of several threads only one gets it. */
static int np_take(int *kept)
{
    return (int)InterlockedExchange((volatile LONG *)kept, -1);
}

/* The descriptor that is kept, or -1 if another thread took it out. */
static int np_look(const int *kept)
{
    return (int)InterlockedCompareExchange((volatile LONG *)kept, -1, -1);
}

static int np_folder_stamp_wide(const wchar_t *path, np_stamp *stamp)
{
    WIN32_FILE_ATTRIBUTE_DATA data;
    if (!GetFileAttributesExW(path, GetFileExInfoStandard, &data))
        return (int)GetLastError();
    memset(stamp, 0, sizeof *stamp);
    stamp->earliest = ((long long)data.ftLastWriteTime.dwHighDateTime << 32) | data.ftLastWriteTime.dwLowDateTime;
    stamp->latest = stamp->earliest;
    stamp->size = -1;
    return 0;
}

/* ------------------------------------------------------------------------------------------------------------ POSIX */
#else

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static long long np_nanoseconds(const struct timespec *time)
{
    return (long long)time->tv_sec * 1000000000 + time->tv_nsec;
}

static void np_note_stamp(np_stamp *stamp, const struct stat *info)
{
#ifdef __APPLE__
    const struct timespec *changed = &info->st_mtimespec;
#else
    const struct timespec *changed = &info->st_mtim;
#endif
    stamp->device = (unsigned long long)info->st_dev;
    stamp->inode = (unsigned long long)info->st_ino;
    stamp->earliest = stamp->latest = np_nanoseconds(changed);
    stamp->size = (long long)info->st_size;
    stamp->growth = 0;
    stamp->clock_agrees = 0;
}

static int np_folder_stamp(const char *path, np_stamp *stamp)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return errno;
    np_note_stamp(stamp, &info);
    return 0;
}

/* Whether `path` leads to the file with these numbers. */
static int np_leads_to(const char *path, long long device, unsigned long long inode)
{
    struct stat info;
    return stat(path, &info) == 0 && (unsigned long long)info.st_ino == inode && (long long)info.st_dev == device;
}

/* Open a regular file of less than `limit` bytes; with `is_link_refused`, no link to one. Returns 0 with its descriptor and
 * status, an error number, or -1 where it is something else, larger, or can't be opened without waiting. */
static int np_open_small(const char *path, int is_link_refused, long long limit, int *fd, np_status *status)
{
    struct stat info;
    memset(status, 0, sizeof *status);
    do {
        *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (is_link_refused ? O_NOFOLLOW : 0));
    } while (*fd < 0 && errno == EINTR);
    if (*fd < 0) /* EAGAIN: another program has a lease, for which the slow path waits */
        return errno == EAGAIN ? -1 : errno;
    if (fstat(*fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size >= limit) {
        close(*fd);
        return -1;
    }
    status->size = (long long)info.st_size;
    status->mode = (int)info.st_mode;
    status->owner = (unsigned)info.st_uid;
    return 0;
}

/* Read the whole content and close. Returns 0, an error number, or -1 where the file has another size by now. */
static int np_read_and_close(int fd, char *target, long long size)
{
    long long done = 0;
    int error = 0;
    while (done < size) {
        ssize_t got = read(fd, target + done, (size_t)(size - done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            error = got < 0 ? errno : -1;
            break;
        }
        done += got;
    }
    close(fd);
    return error;
}

static void np_close(int fd)
{
    close(fd);
}

static int np_take(int *kept)
{
    return __atomic_exchange_n(kept, -1, __ATOMIC_ACQ_REL);
}

static int np_look(const int *kept)
{
    return __atomic_load_n(kept, __ATOMIC_ACQUIRE);
}

/* ------------------------------------------------------------------------------------------------------------ Linux */
#if defined(__linux__)

#include <pthread.h>
#include <stdint.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

#ifndef O_TMPFILE /* it is younger than some C libraries that we run on */
#define O_TMPFILE (020000000 | O_DIRECTORY)
#endif

/* Tell the file system that `size` bytes will be written from `start` on. Disks then take less time; a file system in memory
 * takes more, because it clears the memory first. */
static int np_reserve(int fd, long long start, long long size)
{
    struct statfs info;
    if (fstatfs(fd, &info) != 0)
        return errno;
    if (info.f_type == 0x01021994 /* TMPFS_MAGIC */)
        return 0;
    return fallocate(fd, 1 /* FALLOC_FL_KEEP_SIZE */, (off_t)start, (off_t)size) == 0 ? 0 : errno;
}

/* Called by number: these functions are younger than some C libraries that we run on. Returns 0, an error number, or -1
 * where the file system can't do it. */
static int np_rename_exclusively(const char *from, const char *to)
{
#ifdef SYS_renameat2
    if (syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 1 /* RENAME_NOREPLACE */) == 0)
        return 0;
    return errno == EINVAL || errno == ENOSYS ? -1 : errno;
#else
    return -1;
#endif
}

/* Write the whole file system of `fd` to its disk. Returns 0, an error number, or -1 where it is not known whether the file
 * system does so: many network and user-space ones don't. */
static int np_sync_file_system(int fd)
{
#ifdef SYS_syncfs
    struct statfs info;
    if (fstatfs(fd, &info) != 0)
        return errno;
    switch ((unsigned long)info.f_type & 0xFFFFFFFFUL) {
    case 0xEF53UL:     /* ext2, ext3, ext4 */
    case 0x58465342UL: /* XFS */
    case 0x9123683EUL: /* Btrfs */
    case 0xF2F52010UL: /* F2FS */
    case 0x2FC12FC1UL: /* ZFS */
    case 0xCA451A4EUL: /* bcachefs */
    case 0x01021994UL: /* tmpfs, whose disk is memory */
    case 0x794C7630UL: /* overlayfs, by the one beneath */
        break;
    default:
        return -1;
    }
    return syscall(SYS_syncfs, fd) == 0 ? 0 : errno;
#else
    return -1;
#endif
}

/* Whether this system refuses to link a file by its descriptor alone, as older kernels do for ordinary users. Threads
 * share it: at worst several find it out. */
static int np_needs_proc = 0;

/* Give the file without a name that is open as `fd` the name `name` in the folder `at`. Returns 0, an error number, EEXIST
 * for every lost race, or -1 where such files can't get a name. */
static int np_link_open(int fd, int at, const char *name)
{
    char path[40];
    struct stat mine, there;
    int error = ENOENT;
    if (!__atomic_load_n(&np_needs_proc, __ATOMIC_RELAXED)) {
        if (linkat(fd, "", at, name, AT_EMPTY_PATH) == 0)
            return 0;
        error = errno;
    }
    if (error != EEXIST) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (linkat(AT_FDCWD, path, at, name, AT_SYMLINK_FOLLOW) == 0) {
            __atomic_store_n(&np_needs_proc, 1, __ATOMIC_RELAXED);
            return 0;
        }
        error = errno;
    }
    /* Network file systems may lose the answer to a link that they made, and report a lost race in their own words: look
     * who is there. With nobody there it may go another way. */
    if (fstatat(at, name, &there, AT_SYMLINK_NOFOLLOW) == 0)
        return fstat(fd, &mine) == 0 && mine.st_dev == there.st_dev && mine.st_ino == there.st_ino ? 0 : EEXIST;
    if (error == EPERM || error == EACCES || error == EOPNOTSUPP || error == ENOSYS || error == EINVAL || error == EMLINK ||
        error == EXDEV || error == ENOENT)
        return -1;
    return error;
}

/* Write all of `data`. Returns 0 or an error number. */
static int np_write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, data, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return errno;
        data += written;
        size -= (size_t)written;
    }
    return 0;
}

static long long np_now(clockid_t clock)
{
    struct timespec now;
    return clock_gettime(clock, &now) == 0 ? np_nanoseconds(&now) : -1;
}

/* When a folder got a name: after the clock's last tick, from which file systems take the time, at that or later. */
typedef struct {
    long long tick, to;
} np_moment;

/* Note in `after` what is known of the folder once a name came to it at `moment`, at a time when it was as `before` says,
 * which was `expected` and tells how the folder grows: that takes no other look. */
static void np_foresee_stamp(np_stamp *after, const np_stamp *before, const np_stamp *expected, const np_moment *moment)
{
    *after = *before;
    after->earliest = moment->tick;
    after->latest = moment->to;
    after->size = before->size + expected->growth;
    after->growth = expected->growth;
    after->clock_agrees = 1;
}

/* Look at the folder, and note in `after` what is known of it once a name came to it at `moment`, at a time when it was as
 * `before` says, which was `expected` if that is given.
 *
 * Since Linux 6.13, disks give a folder that was looked at since its last change a new time with the next one, however soon
 * that comes. So after this look no change is missed. */
static void np_look_after(
    np_stamp *after, const np_stamp *before, const np_stamp *expected, const np_moment *moment, const char *folder
)
{
    if (np_folder_stamp(folder, after) != 0) {
        np_forget_stamp(after);
        return;
    }
    if (expected == NULL || !expected->clock_agrees) { /* nothing is known yet of how the folder grows */
        after->growth = after->size - before->size;
        after->clock_agrees = moment->tick <= after->earliest && after->latest <= moment->to;
    } else {
        after->growth = expected->growth;
        after->clock_agrees = expected->clock_agrees;
    }
}

/* Make a new file without a name in `folder`, write it, and leave it open as `fd`. Returns 0, an error number, or -1 where
 * the folder is not there or its file system has no such files; with these there is no file. */
static int np_write_unnamed(const char *folder, const char *data, size_t size, int *fd)
{
    int error;
    do {
        *fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    } while (*fd < 0 && errno == EINTR);
    if (*fd < 0) {
        error = errno;
        if (error == EOPNOTSUPP || error == EISDIR || error == EINVAL || error == ENOSYS || error == ENOENT)
            error = -1;
        return error;
    }
    error = np_write_all(*fd, data, size);
    if (error != 0) {
        close(*fd);
        *fd = -1;
    }
    return error;
}

/* Stamps share these locks. A thread holds one for a look at a folder and a link, and needs nothing else meanwhile.
 * `is_held` is a hint alone: pthread_mutex_trylock, which knows, would need glibc 2.34 where it is linked to that. `shared`
 * counts down the publications for which it is assumed that threads meet here again, since two of them did. */
typedef struct {
    pthread_mutex_t mutex;
    int is_held, shared;
} np_lock;
#define NP_LOCKS 64
static np_lock np_locks[NP_LOCKS] = {[0 ... NP_LOCKS - 1] = {PTHREAD_MUTEX_INITIALIZER, 0, 0}};

static np_lock *np_lock_of(const np_stamp *stamp)
{
    return &np_locks[((uintptr_t)stamp / sizeof *stamp) % NP_LOCKS];
}

static int np_is_shared(np_lock *lock)
{
    int left = __atomic_load_n(&lock->shared, __ATOMIC_RELAXED) - 1;
    if (__atomic_load_n(&lock->is_held, __ATOMIC_RELAXED))
        left = 100;
    if (left >= 0)
        __atomic_store_n(&lock->shared, left, __ATOMIC_RELAXED);
    return left >= 0;
}

#if defined(__x86_64__) || defined(__i386__)
#define NP_PAUSE() __builtin_ia32_pause()
#else
#define NP_PAUSE() ((void)0)
#endif

/* Wait for some microseconds first, in which it is mostly let go: to put the thread to sleep and wake it takes longer. */
static void np_hold(np_lock *lock)
{
    for (int i = 0; i < 100 && __atomic_load_n(&lock->is_held, __ATOMIC_RELAXED); i++)
        NP_PAUSE();
    pthread_mutex_lock(&lock->mutex);
    __atomic_store_n(&lock->is_held, 1, __ATOMIC_RELAXED);
}

static void np_let_go(np_lock *lock)
{
    __atomic_store_n(&lock->is_held, 0, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&lock->mutex);
}

/* Return a copy of a stamp that threads may be publishing by. */
static np_stamp np_copy_stamp(const np_stamp *stamp)
{
    np_stamp copy;
    np_hold(np_lock_of(stamp));
    copy = *stamp;
    np_let_go(np_lock_of(stamp));
    return copy;
}

/* Open all locks, in the child of a fork: the threads that held them are not there. */
static void np_open_locks(void)
{
    for (int i = 0; i < NP_LOCKS; i++) {
        pthread_mutex_init(&np_locks[i].mutex, NULL);
        np_locks[i].is_held = 0;
    }
}

/* Look at the folder before a publication. Returns 0, an error number, NLP_CHANGED where it is not as `expected` says, if
 * that is given, or -1 where it is not there. Looking takes less time by `held`, if the caller keeps the folder open, than
 * by its path. */
static int np_look_before(const char *folder, const np_stamp *expected, int held, np_stamp *before)
{
    struct stat info;
    if (expected != NULL && held >= 0) {
        if (fstat(held, &info) != 0)
            return NLP_CHANGED; /* another thread closed it meanwhile */
    } else if (stat(folder, &info) != 0) {
        return errno == ENOENT ? -1 : errno;
    }
    np_note_stamp(before, &info);
    return expected == NULL || np_is_unchanged(expected, before) ? 0 : NLP_CHANGED;
}

/* Make a new file without a name, write it, give it its name. With `makes_folder`, make the folder if it is not there.
 *
 * With `stamp`, what is known of the folder right after is written there. If the stamp `is_expected` too, nothing is done
 * where the folder is not as that says. Threads may publish by one stamp at the same time: none takes the names that the
 * others give for a change.
 *
 * Returns 0, an error number, NLP_CHANGED, or -1 where the file system has no such files, or none that can get a name;
 * nothing was changed in the last two cases. `named` tells whether the error is about the name. */
static int np_publish(
    const char *folder, const char *target, const char *data, size_t size, int makes_folder, int *named, np_stamp *stamp,
    int is_expected, int held
)
{
    np_stamp before, expected;
    np_moment moment = {0, 0};
    np_lock *lock = stamp != NULL ? np_lock_of(stamp) : NULL;
    int fd = -1, error = 0;
    *named = 0;
    if (lock != NULL) {
        if (np_is_shared(lock)) { /* what others could do meanwhile is done before it is held */
            error = np_write_unnamed(folder, data, size, &fd);
            if (error != 0)
                return error;
        }
        np_hold(lock);
        expected = *stamp;
        error = np_look_before(folder, is_expected ? &expected : NULL, held, &before);
    }
    if (error == 0 && fd < 0)
        error = np_write_unnamed(folder, data, size, &fd);
    if (error == -1 && makes_folder && mkdir(folder, 0777) == 0)
        error = np_write_unnamed(folder, data, size, &fd);
    if (error == 0) {
        *named = 1;
        if (stamp != NULL)
            moment.tick = np_now(CLOCK_REALTIME_COARSE);
        error = np_link_open(fd, AT_FDCWD, target);
        if (stamp != NULL)
            moment.to = np_now(CLOCK_REALTIME);
    }
    if (stamp != NULL) {
        if (error == 0 && is_expected && expected.clock_agrees && expected.growth != 0) /* the size tells of each name */
            np_foresee_stamp(stamp, &before, &expected, &moment);
        else if (error == 0)
            np_look_after(stamp, &before, is_expected ? &expected : NULL, &moment, folder);
        np_let_go(lock);
    }
    if (fd >= 0 && close(fd) != 0 && errno != EINTR && error == 0) {
        error = errno;
        *named = 0;
    }
    return error;
}

/* Make the new file `hidden`, write it, and rename it to `target`, in place of the file with that name. It gets the
 * permissions `mode` if they are not negative and `owner` is this user.
 *
 * Returns 0, an error number, or -1 where it was written, but not renamed: with an error number, no file is left. */
static int np_replace(
    const char *hidden, const char *target, const char *data, size_t size, int mode, unsigned owner
)
{
    struct stat mine, there;
    int fd, error, is_kept = mode >= 0 && owner == geteuid();
    do { /* nobody may open the new file who may not open the former one */
        fd = open(hidden, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, is_kept ? (mode_t)mode & 0777 : 0666);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return errno;
    error = np_write_all(fd, data, size);
    if (error == 0 && fstat(fd, &mine) != 0)
        error = errno;
    if (error == 0 && is_kept && ((unsigned)mode ^ mine.st_mode) & 0777) /* the umask took some away */
        (void)!fchmod(fd, (mode_t)mode & 0777); /* there are file systems without permissions */
    if (close(fd) != 0 && errno != EINTR && error == 0) /* network file systems report a full disk only now */
        error = errno;
    if (error != 0) {
        unlink(hidden);
        return error;
    }
    if (rename(hidden, target) == 0)
        return 0;
    /* Network file systems may lose the answer: look who is there. */
    if (lstat(target, &there) == 0 && mine.st_dev == there.st_dev && mine.st_ino == there.st_ino)
        return 0;
    return -1;
}

/* ------------------------------------------------------------------------------------------------------------ macOS */
#elif defined(__APPLE__)

static int np_rename_exclusively(const char *from, const char *to)
{
    if (renamex_np(from, to, 4 /* RENAME_EXCL */) == 0)
        return 0;
    return errno == EINVAL || errno == ENOTSUP ? -1 : errno;
}

#endif
#endif

/* ------------------------------------------------------------------------------------------- what each system lacks */
/* In the place of a function that a system does not have stands its answer "this can't be done here". */
#ifdef _WIN32
#define np_open_small(path, is_link_refused, limit, fd, status) \
    ((void)(path), (void)(is_link_refused), (void)(limit), (void)(fd), (void)(status), -1)
#define np_read_and_close(fd, target, size) ((void)(fd), (void)(target), (void)(size), -1)
#define np_folder_stamp(path, stamp) ((void)(path), (void)(stamp), ERROR_NOT_SUPPORTED)
#define np_leads_to(path, device, inode) ((void)(path), (void)(device), (void)(inode), 0)
#else
#define np_folder_stamp_wide(path, stamp) ((void)(path), (void)(stamp), ENOSYS)
#endif
#if !defined(__linux__)
#define np_reserve(fd, start, size) ((void)(fd), (void)(start), (void)(size), 0)
#define np_sync_file_system(fd) ((void)(fd), -1)
#define np_write_unnamed(folder, data, size, fd) ((void)(folder), (void)(data), (void)(size), *(fd) = -1, -1)
#define np_replace(hidden, target, data, size, mode, owner) \
    ((void)(hidden), (void)(target), (void)(data), (void)(size), (void)(mode), (void)(owner), ENOSYS)
#define np_publish(folder, target, data, size, makes_folder, named, stamp, is_expected, held) \
    ((void)(folder), (void)(target), (void)(data), (void)(size), (void)(makes_folder), (void)(stamp), (void)(is_expected), (void)(held), *(named) = 0, -1)
#define np_copy_stamp(stamp) (*(stamp)) /* only np_publish changes one */
#define np_open_locks() ((void)0)
#if !defined(__APPLE__)
#define np_rename_exclusively(from, to) ((void)(from), (void)(to), -1)
#endif
#endif

#endif
