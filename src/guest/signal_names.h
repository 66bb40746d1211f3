/* Signals by the names that clients use: the list of Deno's. */
#pragma once

/* The signal's number; -EINVAL for an unknown name and for those that Linux does not have
 * (SIGBREAK, SIGEMT, SIGINFO). */
int signal_number(const char *name);
/* "SIGTERM" for 15. Signals without a name in the list (real-time ones) give NULL. */
const char *signal_name(int number);
