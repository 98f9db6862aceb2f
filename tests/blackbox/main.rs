//! Black-box tests: against a real kube-apiserver, with the manifests that ship.
//!
//! One binary, so that all of them share one control plane; a namespace for each test, so that they run in parallel.

#![allow(clippy::panic, reason = "a test fails by panicking")]

mod admission;
mod annotations;
mod answers;
mod choices;
mod cleanup_admission;
mod cleanups;
mod cluster;
mod columns;
mod command;
mod deadlines;
mod deletions;
mod deploy;
mod edges;
mod events;
mod explain;
mod figures;
mod finalizer_policy;
mod finalizers;
mod foreign;
mod foreign_words;
mod gateway_admission;
mod gateways;
mod gitops;
mod kept;
mod leadership;
mod lease;
mod limits;
mod logins;
mod looking_again;
mod managers;
mod many_gateways;
mod memory;
mod neighbours;
mod network;
mod notes;
mod operator;
mod outages;
mod policies;
mod policies_page;
mod remedies;
mod requester;
mod requests;
mod rotation;
mod rows;
mod run_deadlines;
mod schema_walk;
mod secrets;
mod seldom;
mod sharing;
mod stop;
mod stop_verb;
mod sweep;
mod tour;
mod troubleshooting;
mod ttl;
mod unread_log;
mod waiting;
mod words;
mod writes;
