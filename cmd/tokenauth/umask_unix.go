//go:build unix

package main

import "syscall"

// The files of a database hold digests of keys. Therefore only their owner may read the files that
// the program creates: a SQLite database with its journal, WAL and shared memory.
func init() { syscall.Umask(0o077) }
