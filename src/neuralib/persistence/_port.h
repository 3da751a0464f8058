/* The one place that knows operating systems: listing the names of a folder, and when it changed.
 *
 * No Python here, so that it runs without the GIL and compiles alone. Every platform defines every name; the ones that
 * do not apply fail with an error.
 */
#ifndef NEURALIB_PERSISTENCE_PORT_H
#define NEURALIB_PERSISTENCE_PORT_H

#include <errno.h>
#include <stddef.h>
#include <wchar.h>

#ifdef _WIN32

#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <windows.h>

#define PLATFORM_IS_WINDOWS 1
#define NLP_NOT_THERE ERROR_FILE_NOT_FOUND

/* 0, an error number, or -1 where the system can't do it. */
static int np_rename_exclusively(const char *from, const char *to)
{
    (void)from;
    (void)to;
    return -1;
}

static int np_sync_file_system(int fd)
{
    (void)fd;
    return -1;
}

typedef struct {
    int error;
    int first;
    HANDLE handle;
    WIN32_FIND_DATAW entry;
} np_folder;

static int np_folder_open_wide(np_folder *folder, const wchar_t *path)
{
    size_t size = wcslen(path);
    wchar_t *pattern = (wchar_t *)HeapAlloc(GetProcessHeap(), 0, (size + 3) * sizeof(wchar_t));
    folder->error = 0;
    folder->first = 1;
    if (pattern == NULL) {
        folder->error = ERROR_NOT_ENOUGH_MEMORY;
        return -1;
    }
    wmemcpy(pattern, path, size);
    if (size > 0 && path[size - 1] != L'\\' && path[size - 1] != L'/')
        pattern[size++] = L'\\';
    pattern[size++] = L'*';
    pattern[size] = 0;
    folder->handle = FindFirstFileW(pattern, &folder->entry);
    if (folder->handle == INVALID_HANDLE_VALUE)
        folder->error = (int)GetLastError();
    HeapFree(GetProcessHeap(), 0, pattern);
    return folder->error ? -1 : 0;
}

static const wchar_t *np_folder_next_wide(np_folder *folder)
{
    if (folder->first) {
        folder->first = 0;
        return folder->entry.cFileName;
    }
    if (FindNextFileW(folder->handle, &folder->entry))
        return folder->entry.cFileName;
    if (GetLastError() != ERROR_NO_MORE_FILES)
        folder->error = (int)GetLastError();
    return NULL;
}

static int np_folder_open(np_folder *folder, const char *path)
{
    (void)path;
    folder->error = ERROR_NOT_SUPPORTED;
    return -1;
}

static const char *np_folder_next(np_folder *folder)
{
    folder->error = ERROR_NOT_SUPPORTED;
    return NULL;
}

static void np_folder_close(np_folder *folder)
{
    FindClose(folder->handle);
}

static int np_folder_stamp_wide(const wchar_t *path, long long *stamp)
{
    WIN32_FILE_ATTRIBUTE_DATA data;
    if (!GetFileAttributesExW(path, GetFileExInfoStandard, &data))
        return (int)GetLastError();
    *stamp = ((long long)data.ftLastWriteTime.dwHighDateTime << 32) | data.ftLastWriteTime.dwLowDateTime;
    return 0;
}

static int np_folder_stamp(const char *path, long long *stamp)
{
    (void)path;
    (void)stamp;
    return ERROR_NOT_SUPPORTED;
}

#else

#include <dirent.h>
#include <sys/stat.h>

#define PLATFORM_IS_WINDOWS 0
#define NLP_NOT_THERE ENOENT

#if defined(__linux__)
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>
/* By number: the functions of these names are younger than some C libraries that we run on. */
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

static int np_sync_file_system(int fd)
{
#ifdef SYS_syncfs
    return syscall(SYS_syncfs, fd) == 0 ? 0 : errno;
#else
    return -1;
#endif
}
#elif defined(__APPLE__)
#include <stdio.h>
static int np_rename_exclusively(const char *from, const char *to)
{
    if (renamex_np(from, to, 4 /* RENAME_EXCL */) == 0)
        return 0;
    return errno == EINVAL || errno == ENOTSUP ? -1 : errno;
}

static int np_sync_file_system(int fd)
{
    (void)fd;
    return -1;
}
#else
static int np_rename_exclusively(const char *from, const char *to)
{
    (void)from;
    (void)to;
    return -1;
}

static int np_sync_file_system(int fd)
{
    (void)fd;
    return -1;
}
#endif

typedef struct {
    int error;
    DIR *stream;
} np_folder;

static int np_folder_open(np_folder *folder, const char *path)
{
    folder->error = 0;
    do {
        folder->stream = opendir(path);
    } while (folder->stream == NULL && errno == EINTR);
    if (folder->stream == NULL) {
        folder->error = errno;
        return -1;
    }
    return 0;
}

static const char *np_folder_next(np_folder *folder)
{
    struct dirent *entry;
    errno = 0;
    entry = readdir(folder->stream);
    if (entry == NULL) {
        folder->error = errno;
        return NULL;
    }
    return entry->d_name;
}

static int np_folder_open_wide(np_folder *folder, const wchar_t *path)
{
    (void)path;
    folder->error = ENOSYS;
    return -1;
}

static const wchar_t *np_folder_next_wide(np_folder *folder)
{
    folder->error = ENOSYS;
    return NULL;
}

static void np_folder_close(np_folder *folder)
{
    closedir(folder->stream);
}

static int np_folder_stamp(const char *path, long long *stamp)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return errno;
#ifdef __APPLE__
    *stamp = (long long)info.st_mtimespec.tv_sec * 1000000000 + info.st_mtimespec.tv_nsec;
#else
    *stamp = (long long)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
#endif
    return 0;
}

static int np_folder_stamp_wide(const wchar_t *path, long long *stamp)
{
    (void)path;
    (void)stamp;
    return ENOSYS;
}

#endif
#endif
