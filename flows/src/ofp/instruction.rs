//! Instructions (OpenFlow 1.5.1, 7.2.5).
