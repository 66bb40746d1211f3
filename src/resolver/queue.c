/*
 * Names that are in the queue or in flight already are not looked up again: who asks for one waits
 * with the others. No sandbox can keep the rest from being served: each asker (gates have a uid of
 * their own) has bounds on what it may wait for and how many threads may be busy for it.
 *
 * A lookup is in one list, `waiting` or `running`, and belongs to the thread that runs it once it
 * is in the latter; its askers may still grow, so everything here is under one lock.
 */
#include "resolver/queue.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <resolv.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/mem.h"
#include "resolver/request.h"

#define THREADS 24
#define THREAD_STACK (256 * 1024)
#define WAITING_MAX 256     /* lookups that no thread has taken yet */
#define ASKERS_MAX 1024     /* of all lookups */
#define ASKER_WAITS_MAX 128 /* for one uid */
#define ASKER_THREADS_MAX 8 /* busy for one uid */

struct asker {
	struct list node; /* lookup.askers */
	uid_t uid;
	int sock;
};

struct lookup {
	struct list node; /* queue.waiting or queue.running */
	struct list askers;
	uid_t charged; /* for whom it runs */
	char name[RESOLVER_NAME_SIZE];
};

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t more; /* a lookup waits */
	struct list waiting;
	struct list running;
	size_t waiting_count;
	size_t asker_count;
};

/* A socket of another kind could make close() wait for its peer. */
void queue_drop(int fd)
{
	const struct linger none = {0};

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	fd_close(fd);
}

static void answer(int sock, const struct resolver_answer *a)
{
	/* Whoever does not take it gets the end of the socket. */
	(void)send(sock, a, sizeof(*a), MSG_NOSIGNAL | MSG_DONTWAIT);
	queue_drop(sock);
}

/* --- one lookup ------------------------------------------------------------------------------- */

static enum resolver_result result_of(int error)
{
	switch (error) {
	case 0:
		return RESOLVER_OK;
	case EAI_NONAME:
	case EAI_NODATA:
	case EAI_ADDRFAMILY:
		return RESOLVER_NO_NAME;
	default:
		return RESOLVER_FAILED;
	}
}

static bool to_address(const struct sockaddr *sa, struct in6_addr *ret)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (sa->sa_family == AF_INET) {
		memcpy(&in, sa, sizeof(in));
		*ret = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
		memcpy(&ret->s6_addr[12], &in.sin_addr, 4);
		return true;
	}
	if (sa->sa_family == AF_INET6) {
		memcpy(&in6, sa, sizeof(in6));
		*ret = in6.sin6_addr;
		return true;
	}
	return false;
}

static void add_address(struct resolver_answer *a, const struct in6_addr *address)
{
	for (uint32_t i = 0; i < a->count; i++) {
		if (memcmp(&a->addresses[i], address, sizeof(*address)) == 0)
			return;
	}
	if (a->count < RESOLVER_ADDRESSES_MAX)
		a->addresses[a->count++] = *address;
}

/* Names are whole names: what a rule allows must not become another name, below the host's own
 * domain, when there is none like it. glibc reads resolv.conf again by itself only while nobody
 * has changed its options, so it is told to. */
static void switch_search_off(void)
{
	/* The state of a fresh thread is all zeros: closing it would close descriptor 0. */
	if (_res.options & RES_INIT)
		res_nclose(&_res);
	if (res_ninit(&_res) == 0)
		_res.options &= ~(RES_DEFNAMES | RES_DNSRCH);
}

static void look_up(const char *name, struct resolver_answer *ret)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	struct in6_addr address;

	switch_search_off();
	*ret = (struct resolver_answer){
		.result = result_of(getaddrinfo(name, NULL, &hints, &found))};
	if (ret->result != RESOLVER_OK)
		return;
	for (const struct addrinfo *i = found; i; i = i->ai_next) {
		if (to_address(i->ai_addr, &address))
			add_address(ret, &address);
	}
	freeaddrinfo(found);
	if (ret->count == 0)
		ret->result = RESOLVER_NO_NAME;
}

/* --- the queue, locked ------------------------------------------------------------------------ */

static struct lookup *find_in(const struct list *head, const char *name)
{
	struct list *pos;

	list_for_each (pos, head) {
		struct lookup *l = container_of(pos, struct lookup, node);

		if (strcmp(l->name, name) == 0)
			return l;
	}
	return NULL;
}

static size_t count_waits(const struct list *head, uid_t uid)
{
	struct list *pos, *asker;
	size_t n = 0;

	list_for_each (pos, head) {
		list_for_each (asker, &container_of(pos, struct lookup, node)->askers)
			n += container_of(asker, struct asker, node)->uid == uid;
	}
	return n;
}

static size_t count_threads(const struct queue *q, uid_t uid)
{
	struct list *pos;
	size_t n = 0;

	list_for_each (pos, &q->running)
		n += container_of(pos, struct lookup, node)->charged == uid;
	return n;
}

static void remove_asker(struct queue *q, struct asker *a)
{
	list_del(&a->node);
	q->asker_count--;
	free(a);
}

static struct lookup *add_lookup(struct queue *q, const char *name)
{
	struct lookup *l = mem_new(struct lookup);

	list_init(&l->askers);
	memcpy(l->name, name, strlen(name) + 1);
	list_push_back(&q->waiting, &l->node);
	q->waiting_count++;
	return l;
}

/* Forgets who has given up meanwhile. */
static void drop_gone_askers(struct queue *q, struct lookup *l)
{
	struct list *pos, *next;

	list_for_each_safe (pos, next, &l->askers) {
		struct asker *a = container_of(pos, struct asker, node);
		struct pollfd p = {.fd = a->sock};

		if (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR))) {
			queue_drop(a->sock);
			remove_asker(q, a);
		}
	}
}

/* Forgets lookups for which nobody waits any more. */
static void sweep(struct queue *q)
{
	struct list gone = LIST_INIT(gone);
	struct list *pos, *next;

	list_for_each (pos, &q->running)
		drop_gone_askers(q, container_of(pos, struct lookup, node));
	list_for_each_safe (pos, next, &q->waiting) {
		drop_gone_askers(q, container_of(pos, struct lookup, node));
		if (!list_empty(&container_of(pos, struct lookup, node)->askers))
			continue;
		list_del(pos);
		q->waiting_count--;
		list_push_back(&gone, pos);
	}
	while (!list_empty(&gone)) {
		pos = list_next(&gone);
		list_del(pos);
		free(container_of(pos, struct lookup, node));
	}
}

static bool is_full(const struct queue *q, uid_t uid)
{
	return q->asker_count >= ASKERS_MAX || q->waiting_count >= WAITING_MAX ||
	       count_waits(&q->waiting, uid) + count_waits(&q->running, uid) >= ASKER_WAITS_MAX;
}

/* Whether sock waits for an answer now. */
static bool add_asker(struct queue *q, const char *name, uid_t uid, int sock)
{
	struct lookup *l;
	struct asker *a;

	if (is_full(q, uid))
		sweep(q);
	if (is_full(q, uid))
		return false;
	l = find_in(&q->running, name);
	if (!l)
		l = find_in(&q->waiting, name);
	if (!l)
		l = add_lookup(q, name);
	a = mem_new(struct asker);
	a->uid = uid;
	a->sock = sock;
	list_push_back(&l->askers, &a->node);
	q->asker_count++;
	return true;
}

/* An asker for whom a thread more may be busy. */
static const struct asker *find_payer(const struct queue *q, const struct lookup *l)
{
	struct list *pos;

	list_for_each (pos, &l->askers) {
		const struct asker *a = container_of(pos, struct asker, node);

		if (count_threads(q, a->uid) < ASKER_THREADS_MAX)
			return a;
	}
	return NULL;
}

/* The first lookup that may run, now in q->running; NULL: none. */
static struct lookup *take_lookup(struct queue *q)
{
	struct list *pos;

	sweep(q);
	list_for_each (pos, &q->waiting) {
		struct lookup *l = container_of(pos, struct lookup, node);
		const struct asker *payer = find_payer(q, l);

		if (!payer)
			continue;
		l->charged = payer->uid;
		list_del(&l->node);
		list_push_back(&q->running, &l->node);
		q->waiting_count--;
		return l;
	}
	return NULL;
}

/* --- threads ---------------------------------------------------------------------------------- */

static void lock(struct queue *q)
{
	int r = pthread_mutex_lock(&q->lock);

	assert(r == 0);
	(void)r;
}

static void unlock(struct queue *q)
{
	int r = pthread_mutex_unlock(&q->lock);

	assert(r == 0);
	(void)r;
}

/* Nobody can join a lookup that is in no list, so its askers are the thread's own. */
static void finish_lookup(struct lookup *l, const struct resolver_answer *a)
{
	struct list *pos, *next;

	list_for_each_safe (pos, next, &l->askers) {
		struct asker *asker = container_of(pos, struct asker, node);

		answer(asker->sock, a);
		free(asker);
	}
	free(l);
}

static void *serve(void *data)
{
	struct queue *q = data;
	struct resolver_answer a;
	struct lookup *l;
	struct list *pos;

	lock(q);
	for (;;) {
		while ((l = take_lookup(q)) == NULL)
			(void)pthread_cond_wait(&q->more, &q->lock);
		unlock(q);
		look_up(l->name, &a);
		lock(q);
		list_del(&l->node);
		list_for_each (pos, &l->askers)
			q->asker_count--;
		unlock(q);
		finish_lookup(l, &a);
		lock(q);
	}
	return NULL;
}

void queue_ask(struct queue *q, const char *name, uid_t uid, int sock)
{
	static const struct resolver_answer busy = {.result = RESOLVER_BUSY};

	lock(q);
	bool waits = add_asker(q, name, uid, sock);
	unlock(q);
	if (waits)
		(void)pthread_cond_signal(&q->more);
	else
		answer(sock, &busy);
}

int queue_start(struct queue **ret)
{
	struct queue *q = mem_new(struct queue);
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	list_init(&q->waiting);
	list_init(&q->running);
	r = pthread_mutex_init(&q->lock, NULL);
	if (r == 0)
		r = pthread_cond_init(&q->more, NULL);
	if (r == 0)
		r = pthread_attr_init(&attr);
	if (r == 0)
		r = pthread_attr_setstacksize(&attr, THREAD_STACK);
	if (r == 0)
		r = pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	for (int i = 0; i < THREADS && r == 0; i++)
		r = pthread_create(&thread, &attr, serve, q);
	*ret = q; /* not freed: threads may have it already */
	return -r;
}
