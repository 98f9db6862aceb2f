//! A local Kubernetes control plane and a simulated Testinium gateway.
