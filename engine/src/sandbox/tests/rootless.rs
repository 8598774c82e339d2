//! The same without privileges. Each test forks, because only a process with one thread may enter a
//! user namespace, becomes an ordinary user there, and tells by a pipe what it saw.
