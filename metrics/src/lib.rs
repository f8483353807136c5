//! Every metric that ofmirror exports: name, labels and help in one place.
