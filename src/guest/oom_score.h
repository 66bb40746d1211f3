/*
 * Who goes first when memory runs out: children should, the agent last. A child inherits the score
 * of its parent, and its own file in /proc is not ours to write before it has executed its program
 * (nor reliably right after). So the agent raises its own score while it starts a child.
 */
#pragma once

struct oom_score {
	int fd; /* /proc/self/oom_score_adj, or -EBADF: nothing is changed */
	char own[16];
	char child[16];
};

/* fd: the agent's file, opened for reading and writing while that was allowed (taken over), or
 * negative: open it now if it can be. child: the score of children; 0: leave everything. Lowers the
 * agent's own score where that is permitted. */
void oom_score_open(struct oom_score *o, int fd, int child);
void oom_score_close(struct oom_score *o);
/* Before and after a child is started. */
void oom_score_raise(const struct oom_score *o);
void oom_score_restore(const struct oom_score *o);
