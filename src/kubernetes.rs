//! The API server of Kubernetes: what it tells of Pods and namespaces, and what is told to people through it.

pub mod client;
pub mod events;
pub mod feed;
mod follow;
mod items;
pub mod review;
