//! Flows as OVN 23.03 installs them, and one for each way to touch a register.

use super::*;
