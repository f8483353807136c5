//! Matches and their OXM fields (OpenFlow 1.5.1, 7.2.3).
