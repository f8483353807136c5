//! A whole OVN node in network namespaces, and the tests that run ofmirror on it.
