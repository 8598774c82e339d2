//! End-to-end tests of kiln and the tools that compare it with its peers.
