/* Names of files as clients give them. */
#pragma once

/* The path to hand to the kernel: absolute ones as they are, relative ones below home, the empty
 * one as it is (the kernel answers ENOENT). Heap; never NULL. Nothing is normalised: what "..",
 * links and over-long names mean is the kernel's to say. */
char *path_resolve(const char *home, const char *path);
/* Removes slashes at the end, in place, but never the only one. */
void path_strip(char *path);
