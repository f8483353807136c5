//! OpenFlow 1.5 wire codec, and the pure plan and diff of ofmirror's flows.
