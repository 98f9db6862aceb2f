//! Tests of the chart: what real Helm renders of it, and what it does with it on a real kube-apiserver.
//!
//! One binary, so that all of them share one Helm. Whoever installs has a control plane of their own: the definitions and
//! the policy belong to the whole cluster.

#![allow(clippy::panic, reason = "a test fails by panicking")]

mod alerts;
mod drawing;
mod install;
mod jobs;
mod kubelet;
mod manifests;
mod pages;
mod picture;
mod render;
mod site;
mod stand_in;
mod switches;
mod uninstall;
