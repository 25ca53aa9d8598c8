/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A plugin's life: a second thread loads the library, uses it and unloads it, and the process is as it was. */
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vmhost/vmhost.h>

/* This program links nothing but libc, and includes the headers for their types only. */
extern char **environ;

enum { ROUNDS = 5, LAST_SIGNAL = 64 };

static int report; /* where messages go: standard error as it was at the start */

#define REQUIRE(condition)                                                                                           \
    do {                                                                                                             \
        if (!(condition)) {                                                                                          \
            dprintf(report, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                  \
            _exit(1);                                                                                                \
        }                                                                                                            \
    } while (0)

/* --- what belongs to the process --- */

typedef struct {
    sigset_t         mask;
    struct sigaction actions[LAST_SIGNAL + 1];
    char             cwd[4096];
    mode_t           umask;
    char             locale[512];
    char            *environment; /* each string in a line of its own */
    size_t           length;
} process;

static mode_t current_umask(void)
{
    mode_t mask = umask(0);

    umask(mask);
    return mask;
}

static void look(process *now)
{
    FILE *text;

    memset(now, 0, sizeof *now);
    REQUIRE(pthread_sigmask(SIG_SETMASK, NULL, &now->mask) == 0);
    for (int number = 1; number <= LAST_SIGNAL; number++)
        sigaction(number, NULL, &now->actions[number]); /* fails for those of the C library */
    REQUIRE(getcwd(now->cwd, sizeof now->cwd));
    now->umask = current_umask();
    snprintf(now->locale, sizeof now->locale, "%s", setlocale(LC_ALL, NULL));
    text = open_memstream(&now->environment, &now->length);
    for (char **variable = environ; *variable; variable++)
        fprintf(text, "%s\n", *variable);
    fclose(text);
}

static void require_same_mask(const sigset_t *before, const sigset_t *after)
{
    for (int number = 1; number <= LAST_SIGNAL; number++)
        REQUIRE(sigismember(before, number) == sigismember(after, number));
}

static void require_same(const process *before, const process *after)
{
    require_same_mask(&before->mask, &after->mask);
    for (int number = 1; number <= LAST_SIGNAL; number++) {
        REQUIRE(before->actions[number].sa_handler == after->actions[number].sa_handler);
        REQUIRE(before->actions[number].sa_flags == after->actions[number].sa_flags);
    }
    REQUIRE(strcmp(before->cwd, after->cwd) == 0);
    REQUIRE(before->umask == after->umask);
    REQUIRE(strcmp(before->locale, after->locale) == 0);
    REQUIRE(strcmp(before->environment, after->environment) == 0);
}

static int count_entries(const char *path)
{
    DIR *directory = opendir(path);
    int  count = 0;

    REQUIRE(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

/* The program's signals are for its own threads: only the main one runs now that may take one. */
static void require_threads_block_signals(void)
{
    DIR *tasks = opendir("/proc/self/task");

    REQUIRE(tasks);
    for (struct dirent *entry; (entry = readdir(tasks));) {
        int                id = atoi(entry->d_name);
        char               path[64], line[256];
        unsigned long long blocked = 0;
        FILE              *status;

        if (id == 0 || id == getpid())
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%d/status", id);
        status = fopen(path, "re");
        while (status && fgets(line, sizeof line, status))
            sscanf(line, "SigBlk: %llx", &blocked);
        if (!status)
            continue; /* it ended meanwhile */
        fclose(status);
        REQUIRE(blocked >> (SIGCHLD - 1) & 1);
        REQUIRE(blocked >> (SIGPIPE - 1) & 1);
        REQUIRE(blocked >> (SIGTERM - 1) & 1);
        REQUIRE(blocked >> (SIGALRM - 1) & 1);
    }
    closedir(tasks);
}

/* The default main context is the program's: nobody has put a source into it, and nobody runs it. */
static void require_default_context_free(void)
{
    void *glib = dlopen("libglib-2.0.so.0", RTLD_NOLOAD | RTLD_NOW);
    void *(*get)(void);
    int (*acquire)(void *);
    int (*prepare)(void *, int *);
    int (*query)(void *, int, int *, struct pollfd *, int);
    void (*release)(void *);
    struct pollfd fds[8];
    int           priority, timeout_ms = 0;

    REQUIRE(glib);
    *(void **)&get = dlsym(glib, "g_main_context_default");
    *(void **)&acquire = dlsym(glib, "g_main_context_acquire");
    *(void **)&prepare = dlsym(glib, "g_main_context_prepare");
    *(void **)&query = dlsym(glib, "g_main_context_query");
    *(void **)&release = dlsym(glib, "g_main_context_release");
    REQUIRE(get && acquire && prepare && query && release);
    REQUIRE(acquire(get()));
    REQUIRE(!prepare(get(), &priority));
    REQUIRE(query(get(), 0x7fffffff, &timeout_ms, fds, 8) == 1); /* its own wake-up */
    REQUIRE(timeout_ms == -1);
    release(get());
    dlclose(glib);
}

/* --- a plugin that uses the library --- */

#define IMPORT(library, name) __typeof__(&name) name##_ = (__typeof__(&name))dlsym(library, #name)

static void start_and_stop(void *library, vmh_host *host)
{
    IMPORT(library, vmh_host_find_vm);
    IMPORT(library, vmh_vm_start);
    IMPORT(library, vmh_vm_stop);
    IMPORT(library, vmh_vm_state);
    IMPORT(library, vmh_vm_unref);
    IMPORT(library, vmh_job_finish);
    vmh_vm *vm = vmh_host_find_vm_(host, "test", NULL);

    REQUIRE(vm);
    REQUIRE(vmh_job_finish_(vmh_vm_stop_(vm, 0, NULL), -1, NULL) == 0);
    REQUIRE(vmh_vm_state_(vm) == VMH_VM_STOPPED);
    REQUIRE(vmh_job_finish_(vmh_vm_start_(vm, 0, NULL), -1, NULL) == 0);
    REQUIRE(vmh_vm_state_(vm) == VMH_VM_RUNNING);
    vmh_vm_unref_(vm);
}

static void watch_and_sample(void *library, vmh_host *host)
{
    IMPORT(library, vmh_queue_new);
    IMPORT(library, vmh_queue_wait);
    IMPORT(library, vmh_queue_unref);
    IMPORT(library, vmh_event_type);
    IMPORT(library, vmh_event_free);
    IMPORT(library, vmh_host_sample);
    IMPORT(library, vmh_frame_rows);
    IMPORT(library, vmh_frame_unref);
    vmh_queue *queue = vmh_queue_new_(host, NULL, 0, NULL);
    vmh_frame *frame = vmh_host_sample_(host, NULL, 0, NULL);
    int32_t    type = 0;

    REQUIRE(queue);
    while (type != VMH_EVENT_SYNCED) {
        vmh_event *event;
        REQUIRE(vmh_queue_wait_(queue, 30000, &event, NULL) == 1);
        type = vmh_event_type_(event);
        vmh_event_free_(event);
    }
    REQUIRE(vmh_frame_rows_(frame) == 1);
    vmh_frame_unref_(frame);
    vmh_queue_unref_(queue);
}

/* An error is made, read and dropped, also when it comes from beyond the library. */
static void fail(void *library)
{
    IMPORT(library, vmh_host_open);
    IMPORT(library, vmh_error_code);
    IMPORT(library, vmh_error_free);
    vmh_error *error = NULL;

    REQUIRE(!vmh_host_open_("test:///nowhere/at/all.xml", NULL, 0, &error));
    REQUIRE(vmh_error_code_(error) < 0);
    vmh_error_free_(error);
}

static void *plugin(void *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    IMPORT(library, vmh_host_open);
    IMPORT(library, vmh_host_unref);
    vmh_host *host;
    sigset_t  before, after;

    pthread_sigmask(SIG_SETMASK, NULL, &before);
    REQUIRE(library && vmh_host_open_ && vmh_host_unref_);
    fail(library);
    host = vmh_host_open_("test:///default", NULL, 0, NULL);
    REQUIRE(host);
    start_and_stop(library, host);
    watch_and_sample(library, host);
    vmh_host_unref_(host);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    require_same_mask(&before, &after);
    REQUIRE(dlclose(library) == 0);
    return NULL;
}

static void load_in_thread(const char *path)
{
    pthread_t thread;

    REQUIRE(pthread_create(&thread, NULL, plugin, (void *)path) == 0);
    REQUIRE(pthread_join(thread, NULL) == 0);
}

int main(int argc, char **argv)
{
    int     said = memfd_create("said", MFD_CLOEXEC);
    int     descriptors = 0;
    process before, after;

    report = fcntl(2, F_DUPFD_CLOEXEC, 10);
    REQUIRE(argc == 2);
    REQUIRE(dup2(said, 1) == 1 && dup2(said, 2) == 2);
    look(&before);
    for (int round = 0; round < ROUNDS; round++) {
        load_in_thread(argv[1]);
        require_threads_block_signals();
        /* The first round makes what stays, such as the event loop. */
        if (round == 0)
            descriptors = count_entries("/proc/self/fd");
    }
    look(&after);
    require_same(&before, &after);
    REQUIRE(count_entries("/proc/self/fd") == descriptors);
    require_default_context_free();
    REQUIRE(lseek(said, 0, SEEK_END) == 0);
    free(before.environment);
    free(after.environment);
    return 0;
}
