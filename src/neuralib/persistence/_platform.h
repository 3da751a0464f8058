/* Which operating system this is compiled for, for code that asks nothing else of the system. */
#ifndef NEURALIB_PERSISTENCE_PLATFORM_H
#define NEURALIB_PERSISTENCE_PLATFORM_H

#ifdef _WIN32
#define PLATFORM_IS_WINDOWS 1
#else
#define PLATFORM_IS_WINDOWS 0
#endif

#endif
