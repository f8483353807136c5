//! The node agent: everything that touches the world.

pub mod agent;
pub mod annotation;
pub mod audience;
pub mod cli;
pub mod cluster;
pub mod endpoint;
pub mod health;
pub mod http;
pub mod inquiry;
pub mod journal;
pub mod kubernetes;
pub mod nic;
pub mod observe;
pub mod openflow;
pub mod overhead;
pub mod ovsdb;
pub mod pods;
pub mod repair;
pub mod selection;
pub mod settings;
pub mod sink;
pub mod status;
pub mod switch;
pub mod traffic;
pub mod verdict;
pub mod world;
