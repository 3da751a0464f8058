/* The names in a folder, one after another: bytes, or on Windows wide characters.
 *
 * It uses nothing of Python, so that it runs without the GIL and compiles alone. The last section says what each system
 * lacks.
 */
#ifndef NEURALIB_PERSISTENCE_LISTING_H
#define NEURALIB_PERSISTENCE_LISTING_H

#include "_system.h"

#include <stddef.h>
#include <wchar.h>

#ifdef _WIN32

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

static void np_folder_close(np_folder *folder)
{
    FindClose(folder->handle);
}

#else

#include <dirent.h>

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

static void np_folder_close(np_folder *folder)
{
    closedir(folder->stream);
}

#endif

/* What each system lacks: in the place of a function stands its answer "this can't be done here". */
#ifdef _WIN32
#define np_folder_open(folder, path) ((void)(path), (folder)->error = ERROR_NOT_SUPPORTED, -1)
#define np_folder_next(folder) ((folder)->error = ERROR_NOT_SUPPORTED, (const char *)NULL)
#else
#define np_folder_open_wide(folder, path) ((void)(path), (folder)->error = ENOSYS, -1)
#define np_folder_next_wide(folder) ((folder)->error = ENOSYS, (const wchar_t *)NULL)
#endif

#endif
