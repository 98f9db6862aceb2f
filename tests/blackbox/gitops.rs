//! GitOps: what Flux and Argo CD make of what the operator writes, and the operator of what they write.

mod argocd;
mod drift;
mod page;
mod ready;
mod situations;
